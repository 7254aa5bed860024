"""One process that works: its runtime, what it waits for, and the store it uses. Internal."""
