"""The checks of `resonate doctor`, in their order."""

from __future__ import annotations

from resonate_infra.cli.doctor import account, local, server, stack, table
from resonate_infra.cli.doctor.findings import Check

_LOCAL = (
    Check("python", local.python),
    Check("packages", local.packages),
    Check("distributions", local.distributions),
)
_ACCOUNT = (
    Check("region", account.region, ("packages",)),
    Check("credentials", account.credentials, ("region",)),
    Check("clock", account.clock, ("region",)),
)
OF_TABLE = (
    *_LOCAL,
    *_ACCOUNT,
    Check("table", table.table, ("credentials",)),
    Check("keys", table.keys, ("table",)),
    Check("expiry", table.expiry, ("table",)),
    Check("stream", table.stream, ("table",)),
    Check("backups", table.backups, ("table",)),
    Check("stack", stack.stack, ("table",)),
    Check("functions", stack.functions, ("stack",)),
    Check("recursion", stack.recursion, ("stack",)),
    Check("layer", stack.layer, ("stack",)),
    Check("dispatcher", stack.dispatcher, ("stack", "stream")),
    Check("delivery", stack.delivery, ("stack",)),
    Check("bucket", stack.bucket, ("stack",)),
    Check("permissions", stack.permissions, ("keys",)),
)
"""Checks of a table and of the deployment that owns it."""
OF_SERVER = (
    *_LOCAL,
    Check("server", server.server, ("credentials",)),
    Check("kinds", server.kinds, ("server",)),
    Check("clock", server.server_clock, ("server",)),
)
"""Checks of a server."""
SIGNED = _ACCOUNT[:2]
"""Checks of a server whose requests are signed with the credentials of AWS, before those of a server."""
