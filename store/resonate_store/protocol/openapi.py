"""OpenAPI document of the protocol, generated from the structs that read and write it.

    python -m resonate_store.protocol.openapi > docs/openapi.json

There is one operation, `POST /`. The kind of a request decides the form of its data. The body is therefore one of
several envelopes, each with its kind as a constant.
"""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from resonate_store.model.execution_requests import ExecutionCounts, ExecutionSearch, ExecutionView, PromiseCancel
from resonate_store.model.records import PromiseView, Schedule, Task
from resonate_store.model.requests import PromiseCreate, PromiseSearch, PromiseSettle, TaskFence, TaskSearch
from resonate_store.model.schedule_requests import BackfillCounts, ScheduleBackfill, ScheduleSearch
from resonate_store.protocol.forms import DATA
from resonate_store.protocol.wire import HELD, KINDS, OWN_KINDS, TIME, VERSION

_REF = "#/components/schemas/{name}"
_SEARCHES = (PromiseSearch.kind, TaskSearch.kind, ScheduleSearch.kind, ScheduleBackfill.kind, ExecutionSearch.kind)
_PRELOAD = ("task.create", "task.acquire", "task.suspend", "task.fence")
_STATUSES = {
    "200": "The request was carried out.",
    "300": "The suspension is refused. An awaited promise has settled, or the execution is cancelled. Continue.",
    "400": "The envelope or the data of the request is not valid.",
    "401": "The token in the head is missing or not valid.",
    "403": "The token does not allow this, or it is a debug request and debugging is off.",
    "404": "The promise, task or schedule does not exist.",
    "409": "The task is not in the state, or not at the version, that the request needs; or a key is used.",
    "410": "The execution has ended and takes no more messages.",
    "413": "The request, or a record that it would write, is too large.",
    "422": "A promise that the request names does not exist or has no task, or a message is taken.",
    "429": "The inbox of the execution is full.",
    "500": "The server has a defect.",
    "503": "The store is busy or not reachable. The client can repeat the request.",
}


def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document as dictionaries and lists."""
    types = [*DATA.values(), PromiseView, Task, Schedule, ExecutionView, ExecutionCounts, BackfillCounts]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    for component in components.values():
        if "description" in component:  # some versions of Python keep the indentation of docstrings
            component["description"] = inspect.cleandoc(component["description"])
    components["Promise"] = {**components.pop(PromiseView.__name__), "title": "Promise"}
    components[PromiseView.__name__] = _ref("Promise")
    data = dict(zip(DATA, schemas, strict=False))
    components["FenceAction"] = {
        "oneOf": [_action(kind.kind, data[kind.kind]) for kind in (PromiseCreate, PromiseSettle)]
    }
    components["InnerResponse"] = _inner_response()
    components |= {
        "RequestHead": _object(
            {
                "corrId": {"type": "string", "description": "Correlation id. The response repeats it."},
                "version": {"const": VERSION},
                "auth": {"type": ["string", "null"], "description": "JSON Web Token, if the server requires one."},
                "resonate:debug_time": {
                    "type": ["integer", "null"],
                    "description": "Instant in milliseconds, if debugging is on.",
                },
            },
            optional=("auth", "resonate:debug_time"),
        ),
        "ResponseHead": _object(
            {
                "corrId": {"type": "string"},
                "status": {"type": "integer"},
                "version": {"const": VERSION},
                TIME: {
                    "type": "integer",
                    "description": "The server's time in milliseconds. An addition to the official protocol.",
                },
                KINDS: {
                    "type": "array",
                    "items": {"enum": list(OWN_KINDS)},
                    "description": "Kinds of requests that this server knows and other servers may not know.",
                },
            },
            optional=(TIME, KINDS),
        ),
        "Request": {
            "oneOf": [
                _object({"kind": {"const": kind}, "head": _ref("RequestHead"), "data": schema})
                for kind, schema in data.items()
            ]
        },
        "Response": {"oneOf": [_envelope(kind, _response_data(kind)) for kind in DATA]},
        "Failure": _object({"kind": {"type": "string"}, "head": _ref("ResponseHead"), "data": {"type": "string"}}),
    }
    responses = {
        status: {
            "description": description,
            "content": {"application/json": {"schema": _ref("Failure" if status >= "400" else "Response")}},
        }
        for status, description in _STATUSES.items()
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Resonate", "version": VERSION, "description": "Durable promises, tasks and schedules."},
        "paths": {
            "/": {
                "post": {
                    "operationId": "request",
                    "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("Request")}}},
                    "responses": responses,
                }
            },
            "/health": {"get": {"operationId": "health", "responses": {"200": {"description": "The server runs."}}}},
            "/ready": {
                "get": {
                    "operationId": "ready",
                    "responses": {
                        "200": {"description": "The store answers."},
                        "503": {"description": "The store does not answer."},
                    },
                }
            },
        },
        "components": {"schemas": dict(sorted(components.items()))},
    }


def _response_data(kind: str) -> dict[str, Any]:
    known = {
        "promise": _ref("Promise"),
        "task": _ref("Task"),
        "schedule": _ref("Schedule"),
        "preload": _list("Promise"),
        "promises": _list("Promise"),
        "tasks": _list("Task"),
        "schedules": _list("Schedule"),
        "executions": _list("ExecutionView"),
        "counts": _ref("ExecutionCounts"),
        "count": {"type": "integer", "description": "How many pauses were ended, or how many promises were deleted."},
        "cursor": {"type": "string", "description": "Cursor of the next page. Absent on the last page."},
        "cancel": {"enum": ["accepted", "already"], "description": "Absent if the promise had settled before."},
        "backfill": _ref(BackfillCounts.__name__),
        "action": _ref("InnerResponse"),
    }
    held = HELD.get(kind, ())
    optional = ("preload",) if kind in _PRELOAD else ()
    optional += ("cursor",) if kind in _SEARCHES else ()
    optional += ("task",) if kind in ("promise.get", "task.suspend") else ()
    optional += ("cancel",) if kind == PromiseCancel.kind else ()
    return _object({name: known[name] for name in (*held, *optional)}, optional=optional)


def _inner_response() -> dict[str, Any]:
    promise = _object({"promise": _ref("Promise")})
    return _object(
        {
            "kind": {"enum": [PromiseCreate.kind, PromiseSettle.kind]},
            "head": _ref("ResponseHead"),
            "data": {"anyOf": [promise, {"type": "string"}]},
        }
    ) | {"description": f"Response to the action of a {TaskFence.kind}."}


def _action(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    return _object({"kind": {"const": kind}, "head": {}, "data": data}, optional=("head",))


def _envelope(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    return _object({"kind": {"const": kind}, "head": _ref("ResponseHead"), "data": data})


def _object(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": _REF.format(name=name)}


def _list(name: str) -> dict[str, Any]:
    return {"type": "array", "items": _ref(name)}


def text() -> str:
    """Return the text of docs/openapi.json."""
    return msgspec.json.format(msgspec.json.encode(document())).decode() + "\n"


if __name__ == "__main__":
    print(text(), end="")
