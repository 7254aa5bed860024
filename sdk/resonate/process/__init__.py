"""Internal: one process that works: its runtime, its waits for promises, and the store that it uses."""
