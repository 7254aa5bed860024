"""Conformance scripts: requests with the responses that every server of the protocol must give.

    python -m resonate_infra.conformance URL [--debug] [--token T] [FILES...]

The scripts are YAML files (`corpus/`, docs/conformance.md). `script` defines their language and `reading` parses them.
`runner` runs them against anything that answers envelopes: a store in this process, or a server over HTTP. `matching`
compares responses.
"""
