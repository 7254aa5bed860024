"""The Resonate protocol on the wire: what server and clients alike make of its JSON (REFERENCE 1)."""
