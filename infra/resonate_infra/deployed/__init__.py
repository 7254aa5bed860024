"""Parts of the deployed functions: dispatcher, API, debug requests, wiring, logs and metrics. Internal."""
