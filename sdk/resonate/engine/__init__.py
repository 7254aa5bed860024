"""Internal: replay, as a pure interpreter of one execution, without store, clock or thread."""
