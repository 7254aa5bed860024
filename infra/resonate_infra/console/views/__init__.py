"""Pages of the console. A view gets a `Visit`, and returns a response."""
