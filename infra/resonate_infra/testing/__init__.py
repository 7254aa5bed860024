"""Offline stack: the deployment of `template.yaml` without AWS.

The template is read, transformed and created in moto, and pumps deliver its events as AWS does. So tests run the
deployment that is shipped, not a second description of it. A wrong table, queue, filter or variable in the template is
wrong here too. Needs the extras `[testing,api]`.
"""
