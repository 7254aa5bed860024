"""Checks of calls that a client makes: their arguments, where they are made, and the executions that exist already."""

from __future__ import annotations

import logging
from typing import Any, cast

from resonate.engine.functions.current import CURRENT
from resonate.errors import refusal
from resonate.errors.mistakes import ArgumentTypeError, ArgumentValueError
from resonate.payloads import codec
from resonate.validation import require, users_line
from resonate.workflow.callables import instead
from resonate_store.model.ids import problem_with
from resonate_store.model.records import PromiseView, Value
from resonate_store.model.requests import Response

logger = logging.getLogger("resonate.client")


def check_call(id: str, func: Any) -> None:
    """Check the id and the function of a call.

    Raises:
        TypeError, ValueError: an argument has the wrong type or value.
    """
    require("id", id, str)
    if problem := problem_with(id):
        raise ArgumentValueError(problem)
    if not callable(func) and not isinstance(func, str):
        raise ArgumentTypeError(f"func must be a function or its name, {instead(func)}")
    if CURRENT.workflow:
        logger.warning(
            "workflow %s starts %s by a client (%s): its replay repeats this, and it blocks the worker while it waits;"
            " write `yield ctx.run(...)` or `yield ctx.rpc(...)`, or `await`",
            CURRENT.workflow,
            id,
            users_line(),
        )


def accepted(response: Response) -> PromiseView:
    """Return the promise of a response.

    Raises:
        ResonateStoreError: the store refused the request.
    """
    if response.promise is None:
        raise refusal(response.status, response.error)
    return response.promise


def has_other_arguments(existing: PromiseView, param: Value) -> bool:
    """Return whether an existing execution was called with other arguments than those of this payload."""
    if existing.param.data in (None, param.data):
        return False
    try:
        calls = [cast("dict[str, object]", codec.decode(each)) for each in (existing.param, param)]
        (first, named), (second, by_name) = ((call.get("args"), call.get("kwargs")) for call in calls)
    except Exception:  # another SDK or an encoder has written it
        return False
    return (first or [], named or {}) != (second or [], by_name or {})
