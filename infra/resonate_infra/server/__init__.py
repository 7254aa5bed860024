"""Development server: all of Resonate in one process on http://localhost:8001 (docs/protocol.md).

It has the API, the streams that workers poll, timers, cron, leases and redispatch. Its store is the embedded one or a
DynamoDB table. `resonate_store` decides what a request does, as in a deployment.
"""
