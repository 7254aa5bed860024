"""One execution: what it did, what it waits for, and its records."""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec
from starlette.responses import Response

from resonate.errors import ResonateStoreError
from resonate.testing.history import export_history
from resonate_infra.console.history import WINDOW, Extent, Records
from resonate_infra.console.payloads import LISTED_CHARS, ShownPayload, shown_arguments, shown_payload
from resonate_infra.console.statuses import (
    ShownExecution,
    cancellation_of,
    is_stuck,
    shown_execution,
    without_cancellation,
)
from resonate_infra.console.timeline import Scale, attempts_of, is_root, overview_of, rows_of, scale_of, status_of
from resonate_infra.console.times import labels_of_axis
from resonate_infra.console.visit import Visit
from resonate_infra.inspection.exits import NOT_FOUND, USAGE, Failure
from resonate_infra.inspection.texts import (
    begin_of,
    function_of,
    promise_json,
    shown_version,
    taken_ms,
    task_json,
)
from resonate_infra.inspection.tree import TreeNode, command_of, slept, tree_of, winner_of
from resonate_infra.inspection.waiting import of_execution, read
from resonate_store.model.execution_requests import ExecutionDelete, ExecutionGet, ExecutionRetry, PromiseCancel
from resonate_store.model.records import PromiseView, Value
from resonate_store.model.requests import PromiseGet, PromiseSearch, TaskFork
from resonate_store.model.tags import FORKED_AT, FORKED_FROM, LINK, MESSAGE, ORIGIN, PUBLISHED, SCOPE, TARGET, TIMER

VIEWS: Final = ("timeline", "tree", "messages", "records")
"""The tabs of the page."""
RECORDS: Final = 50
"""How many records one page of the tab "records" has."""


def overview(visit: Visit) -> Response:
    """Show an execution, or one of its parts that change while it runs."""
    id = _id(visit)
    view = visit.get("view", VIEWS[0])
    if view not in VIEWS:
        raise Failure(f"there is no view {view!r}", USAGE)
    part = visit.get("part")
    extent: Extent = "commands"
    if view == "records" or visit.number("from"):
        extent = "all"
    elif part == "rows":
        extent = "beginning"
    records = visit.state.histories.read(visit.session, id, visit.token, extent)
    if part == "head":
        return visit.page("parts/head.html", **_head(visit, records))
    if part == "rows":
        return visit.page("parts/rows.html", **_rows(visit, records, view))
    if part == "messages":
        return visit.page("parts/messages.html", **_messages(records))
    content: dict[str, Any] = {**_head(visit, records), "view": view, "views": VIEWS, "step": visit.get("step")}
    if view in ("timeline", "tree"):
        content |= _rows(visit, records, view)
        if content["step"]:
            content |= _panel(visit, content["step"])
    elif view == "messages":
        content |= _messages(records)
    else:
        content |= _records(visit, records)
    return visit.page("execution.html", **content)


def _head(visit: Visit, records: Records) -> dict[str, Any]:
    root, task, session = records.root, records.task, visit.session
    node = records.window(session, 0, 0)
    takes = visit.takes
    status, waits = status_of(node), ""
    made, next_attempt = attempts_of(node)
    if root.pending:
        waits = of_execution(session, root, without_cancellation(task))
    if (execution := _execution(visit, root)) is not None:
        status, waits = execution.status, waits or execution.waits
    return {
        "id": root.id,
        "root": root,
        "task": task,
        "status": status,
        "function": function_of(root),
        "is_root": is_root(root),
        "origin": root.tags.get(ORIGIN, root.id),
        "begun_at": begin_of(root),
        "took_ms": taken_ms(root),
        "waits": waits,
        "stuck": is_stuck(status, waits),
        "cancellation": cancellation_of(root, task),
        "pinned": "" if task is None else shown_version(task),
        "attempts": made,
        "next_attempt": next_attempt,
        "generation": node.generation,
        "arguments": shown_arguments(root),
        "value": _value(root),
        "commands": records.count,
        "complete": records.complete and not records.beginning,
        "halted": task is not None and task.state == "halted",
        "settles": is_for_people(root),
        "cancels": takes(PromiseCancel.kind),
        "retries": takes(ExecutionRetry.kind),
        "deletes": takes(ExecutionDelete.kind),
        "forks": is_root(root) and TARGET in root.tags and takes(TaskFork.kind),
        "failed": root.state in ("rejected", "rejected_timedout"),
        "forked_from": root.tags.get(FORKED_FROM),
        "forked_at": root.tags.get(FORKED_AT),
    }


def _execution(visit: Visit, root: PromiseView) -> ShownExecution | None:
    """Return a pending execution as the list shows it, or None if it has ended or the server does not have this."""
    if not root.pending or not visit.takes(ExecutionGet.kind):
        return None
    return next(map(shown_execution, visit.session.ask(ExecutionGet(root.id)).executions or ()), None)


def _value(promise: PromiseView) -> ShownPayload:
    return shown_payload(promise.value)


def _rows(visit: Visit, records: Records, view: str) -> dict[str, Any]:
    begin = min(visit.number("from"), max(0, records.count - 1))
    count = min(visit.number("count") or WINDOW, WINDOW)
    node = records.window(visit.session, begin, count)
    scale = scale_of(records.root, visit.now)
    toggled = visit.all("toggle")
    shown = records.groups[begin : begin + count]
    size = sum(len(group) for group in shown)
    overview = overview_of(node, scale, visit.now, records.following(0, count) is None) if begin == 0 else None
    if overview is not None and (execution := _execution(visit, records.root)) is not None:
        overview.status = execution.status
    return {
        "id": records.root.id,
        "root": records.root,
        "view": view,
        "rows": rows_of(node, scale, visit.now, toggled, size),
        "overview": overview,
        "axis": list(_axis(scale)) if begin == 0 else [],
        "begin": begin,
        "following": records.following(begin, count),
        "count": records.count if records.beginning else count,
        "bare": records.beginning and visit.get("part") != "rows",
        "total": None if records.beginning else records.count,
        "toggled": toggled,
        "step": visit.get("step"),
        "live": records.root.pending,
    }


def _axis(scale: Scale) -> list[tuple[float, str]]:
    return [(scale.x(scale.start + at), text) for at, text in labels_of_axis(scale.length)]


def _messages(records: Records) -> dict[str, Any]:
    root = records.root
    waiting = [
        (each.tags[MESSAGE], each, shown_payload(each.param, most_chars=LISTED_CHARS))
        for each in records.waiting
        if MESSAGE in each.tags
    ]
    published = [
        (each.tags[PUBLISHED], each, shown_payload(each.param, most_chars=LISTED_CHARS))
        for each in records.waiting
        if PUBLISHED in each.tags
    ]
    return {
        "id": root.id,
        "root": root,
        "live": root.pending,
        "receives": () if records.task is None else records.task.receives,
        "waiting": sorted(waiting, key=lambda each: each[1].created_at),
        "published": sorted(published, key=lambda each: each[0]),
    }


def _records(visit: Visit, records: Records) -> dict[str, Any]:
    begin = visit.number("from")
    promises = [
        records.root,
        *records.function,
        *(each for group in records.groups for each in group),
        *records.waiting,
    ]
    shown = [(each, _json(promise_json(each, False))) for each in promises[begin : begin + RECORDS]]
    return {
        "records": shown,
        "begin": begin,
        "size": RECORDS,
        "count": len(promises),
        "task_record": "" if records.task is None else _json(task_json(records.task)),
    }


def _json(document: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def records(visit: Visit) -> Response:
    """Show one record as it is stored."""
    promise, task = read(visit.session, _id(visit))
    document = {"promise": promise_json(promise, True), "task": None if task is None else task_json(task)}
    return Response(_json(document), media_type="application/json")


def one_promise(visit: Visit) -> Response:
    """Show one promise: a page, or the panel beside a timeline."""
    if visit.get("part") == "panel":
        return visit.page("parts/panel.html", **_panel(visit, _id(visit)))
    return visit.page("promise.html", **_panel(visit, _id(visit)))


def _panel(visit: Visit, id: str) -> dict[str, Any]:
    """Return what is shown of one command: its arguments, its outcome, and the error of every attempt."""
    session = visit.session
    found = session.find(PromiseGet(id))
    promise = None if found is None else found.promise
    timers = [each for separator in ("~", ".0~") for each in _starting_with(visit, id + separator)]
    if promise is None and not timers:
        raise Failure(f"there is no promise {id!r}", NOT_FOUND)
    task = None if found is None or promise is None or not promise.pending else found.task
    node: TreeNode | None = None
    if promise is not None:
        node = tree_of(session, promise, task, {each.id: each for each in timers})
    failed = [
        (int(each.id.rpartition("~")[2]), each, shown_payload(each.param, most_chars=LISTED_CHARS))
        for each in timers
        if each.id.rpartition("~")[2].isdecimal()
    ]
    failed.sort(key=lambda each: each[0])
    if node is not None:
        made, next_attempt = attempts_of(node)
    else:  # a step that is recorded when it ends, so only its retry timers are known
        made, last = (failed[-1][0], failed[-1][1]) if failed else (0, None)
        next_attempt = made + 1 if last is not None and last.pending else None
    return {
        "of": {
            "id": id,
            "promise": promise,
            "task": task,
            "command": "a step" if node is None else command_of(node),
            "status": "retrying" if node is None else status_of(node),
            "waits": "" if node is None else node.waits(),
            "slept": "" if promise is None else slept(promise),
            "winner": "" if promise is None else winner_of(promise),
            "begun_at": timers[0].created_at if promise is None else begin_of(promise),
            "took_ms": None if promise is None else taken_ms(promise),
            "arguments": shown_payload(Value()) if promise is None else shown_arguments(promise),
            "value": shown_payload(Value()) if promise is None else shown_payload(promise.value),
            "attempts": made,
            "next_attempt": next_attempt,
            "failed": failed,
            "tags": {} if promise is None else promise.tags,
            "page": promise is not None and (TARGET in promise.tags or is_root(promise)),
            "link": None if promise is None else promise.tags.get(LINK),
            "settles": promise is not None and is_for_people(promise),
            "origin": (origin := id if promise is None else promise.tags.get(ORIGIN, id)),
            "place": _command(id, origin) if visit.takes(TaskFork.kind) else "",
        },
    }


def _command(id: str, origin: str) -> str:
    """Return the number of a command below its execution, from which a fork can begin, or an empty text."""
    numbers = id[len(origin) + 1 :]
    return numbers if id != origin and all(part.isdecimal() for part in numbers.split(".")) else ""


def _starting_with(visit: Visit, prefix: str) -> list[PromiseView]:
    response = visit.session.find(PromiseSearch(id=prefix, limit=WINDOW))
    return [] if response is None else list(response.promises or ())


def is_for_people(promise: PromiseView) -> bool:
    """Return whether a pending promise is settled by neither a worker nor time, so by a person or a program."""
    tags = promise.tags
    local = tags.get(SCOPE) == "local"
    return promise.pending and not local and not {TARGET, TIMER, MESSAGE, PUBLISHED, LINK} & tags.keys()


def one_payload(visit: Visit) -> Response:
    """Return a payload of any size as text."""
    promise, _ = read(visit.session, _id(visit))
    value = promise.param if visit.get("side") == "param" else promise.value
    shown = shown_payload(value, most_chars=math.inf)
    text = "\n".join(f"{each.type}: {each.message}\n{each.traceback}" for each in shown.errors) or shown.text
    if shown.kind == "encrypted":
        text = "This payload is encrypted."
    return Response(text, media_type="text/plain; charset=utf-8")


def export(visit: Visit) -> Response:
    """Return the history of an execution as a file, for a replay test."""
    id = _id(visit)
    try:
        text = export_history(visit.session.store, id).to_json()
    except ResonateStoreError as error:
        raise Failure(f"there is no promise {id!r}", NOT_FOUND) if error.status == 404 else error from None
    return Response(
        text, media_type="application/json", headers={"Content-Disposition": 'attachment; filename="history.json"'}
    )


def _id(visit: Visit) -> str:
    id = visit.get("id")
    if not id:
        raise Failure("give the id of an execution", USAGE)
    return id
