"""The promise store: records, a pure state machine, and the substrates that drive it.

Start at `resonate_store.machine` for what the system means, at `resonate_store.interface` for what it looks like from
outside, at `resonate_store.local.memory`, `resonate_store.local.sqlite` and `resonate_store.dynamo` for where it lives.
"""
