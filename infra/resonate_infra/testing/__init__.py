"""The deployment of `template.yaml` without AWS: read, transformed, created in moto and pumped as AWS would.

Tests and `resonate` commands run the deployment that is shipped, not a second description of it: a table,
queue, filter or variable that is wrong in the template is wrong here too. Needs the extras `[testing,api]`.
"""
