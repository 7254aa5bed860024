"""Replay: a pure interpreter of one execution, without store, clock or thread. Internal."""
