"""Which statuses the machine can answer, read from its source.

A kind's transition answers with the statuses of all the responses that are built in it and in what it refers to. That
may be more than it ever answers, and never less: whoever compares it with a list of statuses cannot forget one.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from inspect import getmodule, getsource
from types import FunctionType
from typing import Any, get_args

from resonate_store import machine
from resonate_store.model.execution_requests import ExecutionPauses, ExecutionRetry
from resonate_store.model.message_requests import StatePut, TaskPublish
from resonate_store.model.requests import (
    InternalRequest,
    PromiseRecord,
    PromiseSettle,
    Response,
    TaskHeartbeat,
    TaskRecordStep,
    TaskRegister,
    TaskSuspend,
    TaskSuspendRegistered,
    TaskVerify,
)
from resonate_store.protocol.forms import DATA

OPERATIONS: dict[type[Any], tuple[type, ...]] = {
    TaskHeartbeat: (),
    TaskRecordStep: (TaskVerify, PromiseRecord),
    TaskPublish: (TaskVerify, StatePut, PromiseRecord),
    ExecutionRetry: (ExecutionRetry, ExecutionPauses, PromiseSettle),
    TaskSuspend: (TaskSuspend, TaskRegister, TaskSuspendRegistered),
}
"""The requests that consist of others (`machine.perform`); a heartbeat keeps the answers of its own to itself."""


def statuses_of_the_machine() -> dict[str, set[int]]:
    """Statuses by kind, for every kind that travels; 200 and 400 are everybody's."""
    transitions: dict[type[Any], Callable[..., Any]] = machine.TRANSITION_OF
    kinds: dict[str, set[int]] = {}
    for request in {*transitions, *OPERATIONS}:
        if request.kind in DATA and request not in get_args(InternalRequest):
            operations = OPERATIONS.get(request, (request,))
            kinds[request.kind] = {200, 400}.union(*(_statuses(transitions[each]) for each in operations))
    return kinds


def _statuses(transition: Callable[..., Any]) -> set[int]:
    seen: set[str] = set()
    left, found = [transition], set[int]()
    while left:
        function = left.pop()
        name = f"{function.__module__}.{function.__qualname__}"
        if name in seen:
            continue
        seen.add(name)
        tree = ast.parse(getsource(function))
        found |= set(_responses(tree))
        left += _referred_to(function, tree)
    return found


def _responses(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == Response.__name__:
            given = {each.arg: each.value for each in node.keywords}
            yield ast.literal_eval(given["status"]) if "status" in given else 200


def _referred_to(function: Callable[..., Any], tree: ast.AST) -> Iterator[Callable[..., Any]]:
    """The functions of the machine that are named in a function."""
    known = vars(getmodule(function))
    for node in ast.walk(tree):
        named = known.get(node.id) if isinstance(node, ast.Name) else None
        if isinstance(named, FunctionType) and named.__module__.startswith(machine.__name__):
            yield named
