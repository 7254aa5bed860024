"""The Resonate protocol (docs/protocol.md): `wire` is its JSON, for both sides; `service` answers its requests."""
