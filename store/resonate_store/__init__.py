"""The promise store: records, a pure state machine, and the stores that run it.

Begin with `resonate_store.machine` for the rules and with `resonate_store.interface` for the API. The records are kept
by `resonate_store.local.memory`, `resonate_store.local.sqlite` or `resonate_store.dynamo`.
"""
