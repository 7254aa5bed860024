"""Status of an execution, as web applications show it."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Any

from resonate import Resonate
from resonate.errors import ResonateStoreError
from resonate.executions import DurableExecution


def status_of(
    resonate: Resonate, id: str, *, functions: Collection[str] | None = None, wait_s: float = 0
) -> dict[str, Any] | None:
    """Return the status of an execution as JSON data.

    It has `id`, `function`, `state`, `status`, `created_at` and `published`. A settled execution has `settled_at`, and
    `result` or `error`. They mean what they mean in `resonate.executions.DurableExecution`.

    Args:
        resonate: the connection.
        id: the id of the execution.
        functions: the functions whose executions may be shown; all by default.
        wait_s: how long to wait for the end of the execution, in seconds.

    Returns:
        The status. None if the execution does not exist, or its function is not one of `functions`. A promise that is
        not an execution, such as a step, is not found either.

    Raises:
        ResonateStoreError: the store refuses the request.
    """
    found = _found(resonate, id, functions)
    if found is None:
        return None
    handle = resonate.get(id)
    if found.pending and wait_s > 0:
        with suppress(Exception):  # it is still pending, or has ended; what follows reads which
            handle.result(wait_s)
        found = _found(resonate, id, functions) or found
    shown: dict[str, Any] = {
        "id": id,
        "function": found.function,
        "state": found.state,
        "status": found.status,
        "created_at": found.created_at,
        "published": handle.published(),
    }
    if not found.pending:
        shown["settled_at"] = found.settled_at
        if found.state == "resolved":
            shown["result"] = handle.result()
        else:
            shown["error"] = found.error
    return shown


def _found(resonate: Resonate, id: str, functions: Collection[str] | None) -> DurableExecution | None:
    try:
        found = resonate.executions.get(id)
    except ResonateStoreError as error:
        if error.status in (400, 404):  # a text that is not a valid id does not exist either
            return None
        raise
    if found.function is None or found.target is None or (functions is not None and found.function not in functions):
        return None
    return found
