"""Internal: runs one acquired task against a store, under its lease."""
