"""Conformance: scripts of requests and the answers that they must get, for any server of the protocol.

    python -m resonate_infra.conformance URL [--debug] [--token T] [FILES...]

The scripts are YAML (`corpus/`, docs/conformance.md). `script` reads them, `matching` compares, `runner` interprets
them over whatever answers an envelope: a store in this process as well as a server at the end of a wire.
"""
