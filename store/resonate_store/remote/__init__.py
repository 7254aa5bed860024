"""Store of a server, over HTTP. Internal."""
