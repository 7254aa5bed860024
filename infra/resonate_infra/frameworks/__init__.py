"""Helpers for web applications that start executions and show their status: FastAPI and Chalice.

A start is answered with 202 and the address of the execution's status. The status is JSON, as
`resonate_infra.frameworks.status.status_of` returns it (docs/frameworks.md).
"""
