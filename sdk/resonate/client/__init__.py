"""Internal: the client. `Resonate` and `Handle` are public as names of `resonate`."""
