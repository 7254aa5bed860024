"""The Resonate protocol (docs/protocol.md): `wire` reads and writes its JSON, `service` answers its requests."""
