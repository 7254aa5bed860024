"""One call of a user's function: how it fails, whether it is called again, and what is logged about it."""
