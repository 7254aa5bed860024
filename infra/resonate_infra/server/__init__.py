"""The development server: the whole of Resonate in one process on http://localhost:8001 (docs/protocol.md).

The API, the streams that workers poll, timers, cron, leases and redispatch over the embedded store, or over a DynamoDB
table. Nothing here decides what a request means: `resonate_store` does, as in a deployment.
"""
