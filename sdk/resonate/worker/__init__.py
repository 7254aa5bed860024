"""Run one acquired task against a store, under its lease. Internal."""
