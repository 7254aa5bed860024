"""Starting an execution, and moving the time of a development server."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from resonate.payloads import codec
from resonate_infra.console.schemas import Field, fields_of
from resonate_infra.console.views.workers import Group, groups_of
from resonate_infra.console.visit import Visit
from resonate_infra.inspection.arguments import json_of, milliseconds_of
from resonate_infra.inspection.calls import lineage
from resonate_infra.inspection.exits import USAGE, Failure
from resonate_infra.inspection.texts import function_of
from resonate_infra.json_types import is_list, is_object
from resonate_infra.text import number_in
from resonate_store.model.addresses import expand
from resonate_store.model.ids import random_id
from resonate_store.model.requests import PromiseCreate
from resonate_store.model.tags import FUNC, SCOPE, TARGET
from resonate_store.server_clock import deadline_in

STEPS: Final = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
"""How far (ms) the time of a development server can be moved at once."""


def form(visit: Visit) -> Response:
    """Show the functions of the workers, and the form of the chosen one."""
    groups = groups_of(visit.state.backend.workers(visit.token) or ())
    name, target = visit.get("func"), visit.get("target")
    function = _described(groups, target, name)
    return visit.page(
        "start.html",
        groups=[group for group in groups if group.functions],
        func=name,
        target=target or _target_of(groups, name),
        function=function,
        fields=fields_of(function) if function is not None else [],
        id=f"{name or 'execution'}-{random_id()[:8]}",
        by_hand=visit.get("by_hand") == "1" or not any(group.functions for group in groups),
    )


def _described(groups: list[Group], target: str, name: str) -> dict[str, Any] | None:
    for group in groups:
        if name in group.functions and target in ("", group.name):
            return group.functions[name]
    return None


def _target_of(groups: list[Group], name: str) -> str:
    return next((group.name for group in groups if name in group.functions), "default")


def start(visit: Visit) -> Response:
    """Start an execution with the values of the form."""
    name, target, id = visit.field("func"), visit.field("target"), visit.field("id")
    for what, text in (("function", name), ("target", target), ("id", id)):
        if not text:
            raise Failure(f"give the {what}", USAGE)
    groups = groups_of(visit.state.backend.workers(visit.token) or ())
    function = _described(groups, target, name)
    args, kwargs = _arguments(visit, fields_of(function) if function is not None else None)
    version = visit.field("version", "1")
    number = number_in(version)
    if number is None:
        raise Failure(f"the version is a number, not {version!r}", USAGE)
    param = codec.encode_call(name, tuple(args), kwargs, number)
    session = visit.session
    tags = {**lineage(id), SCOPE: "global", TARGET: expand(target), FUNC: name}
    timeout_ms = milliseconds_of(visit.field("timeout") or "365d", "the timeout")
    timeout_at = deadline_in(timeout_ms, session.store, session.clock, id)
    promise = session.ask(PromiseCreate(id, timeout_at, param, tags)).promise
    assert promise is not None
    if function_of(promise) != name or promise.param != param:
        raise Failure(f"{id!r} exists already, with another function or other arguments: choose another id")
    return visit.back("Started.", "/execution", id=id)


def _arguments(visit: Visit, fields: list[Field] | None) -> tuple[list[Any], dict[str, Any]]:
    """Return the positional and the named arguments of a form. Without fields they are given as JSON."""
    if fields is None:
        args: Any = json_of(visit.field("args") or "[]", "the positional arguments")
        kwargs: Any = json_of(visit.field("kwargs") or "{}", "the named arguments")
        if not is_list(args) or not is_object(kwargs):
            raise Failure("positional arguments are a JSON array, and named ones a JSON object", USAGE)
        return args, kwargs
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for field in fields:
        given = visit.field(f"arg.{field.name}")
        if field.kind == "boolean" and not given:
            given = "false"
        if not given and not field.required:
            continue
        if not given:
            raise Failure(f"give the argument {field.name}", USAGE)
        value = given if field.kind == "string" else json_of(given, f"the argument {field.name}")
        if field.positional:
            positional.append(value)
        else:
            named[field.name] = value
    return positional, named


def advance(visit: Visit) -> Response:
    """Do now what is due within a minute, an hour or a day."""
    step = visit.field("step")
    if step not in STEPS:
        raise Failure(f"the time moves by {', '.join(STEPS)}, not by {step!r}", USAGE)
    if not visit.state.backend.advance(visit.token, STEPS[step]):
        raise Failure("this server does not move its time: start it with --debug")
    id = visit.named()
    visit.state.histories.forget(id)
    said = f"What was due within one {step} has happened."
    return visit.back(said, "/execution", id=id) if id else visit.back(said, "/executions")
