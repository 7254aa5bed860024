"""The store of a server, over HTTP. Internal."""
