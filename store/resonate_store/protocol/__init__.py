"""The Resonate protocol (REFERENCE 1): `wire` is its JSON, for servers and clients; `service` answers its requests."""
