"""Schedules: when they occur next, the outcome of the last occurrence, and how to pause them."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec import Struct
from starlette.responses import Response

from resonate.occurrences import updated
from resonate.payloads import codec
from resonate.payloads.readable import is_encrypted, readable
from resonate.schedules import Schedules
from resonate_infra.console.payloads import LISTED_CHARS, ShownPayload, shown_payload
from resonate_infra.console.statuses import shown_execution
from resonate_infra.console.visit import Visit
from resonate_infra.inspection.arguments import instant_of, json_of, milliseconds_of
from resonate_infra.inspection.exits import FAILED, NOT_FOUND, USAGE, Failure
from resonate_infra.inspection.texts import exact_duration
from resonate_infra.json_types import is_list, is_object
from resonate_infra.text import number_in
from resonate_store.model.addresses import expand
from resonate_store.model.execution_requests import ExecutionGet
from resonate_store.model.records import EMPTY, PromiseView, Schedule, Value
from resonate_store.model.requests import PromiseGet
from resonate_store.model.schedule_requests import (
    ScheduleBackfill,
    ScheduleGet,
    SchedulePause,
    ScheduleResume,
    ScheduleSearch,
    ScheduleTrigger,
    ScheduleUpdate,
)
from resonate_store.model.tags import FUNC, TARGET

PAGE: Final = 25
"""How many schedules a page has."""
NEXT: Final = 3
"""How many of the next occurrences are shown."""


CHOICES: Final = {"catch_up": ("all", "latest", "none"), "overlap": ("allow", "skip")}
"""The policies of a schedule."""
RESERVED: Final = "resonate:"
"""The prefix of tags that other fields of the form set."""


class ShownSchedule(Struct):
    """A schedule with its next occurrences (ms), and the promise and the status of its last one."""

    schedule: Schedule
    function: str
    runs: list[int]
    last: PromiseView | None
    last_status: str
    param: ShownPayload


def listing(visit: Visit) -> Response:
    """Show the schedules by id."""
    response = visit.session.ask(ScheduleSearch(limit=PAGE, cursor=visit.get("cursor") or None))
    found = [_shown(visit, each) for each in response.schedules or ()]
    template = "parts/schedules.html" if visit.get("part") else "schedules.html"
    return visit.page(
        template,
        schedules=found,
        following=response.cursor,
        cursor=visit.get("cursor"),
        backfills=visit.takes(ScheduleBackfill.kind),
        updates=visit.takes(ScheduleUpdate.kind),
    )


def form(visit: Visit) -> Response:
    """Show one schedule in a form that changes it."""
    schedule = _read(visit, visit.get("id"))
    if not visit.takes(ScheduleUpdate.kind):
        raise Failure("this server does not change schedules: delete the schedule and create it again", FAILED)
    return visit.page(
        "schedule.html",
        each=_shown(visit, schedule),
        seen=_seen(schedule),
        timeout=exact_duration(schedule.promise_timeout),
        param=_param_fields(schedule),
        tags=_json(_own_tags(schedule)),
        target=schedule.promise_tags.get(TARGET, ""),
        choices=CHOICES,
    )


def update(visit: Visit) -> Response:
    """Change a schedule. What the form does not show stays as it is."""
    schedule = _read(visit, _id(visit))
    if visit.field("seen") != _seen(schedule):
        raise Failure("the schedule was changed after this form was opened: open it again", FAILED)
    changed: dict[str, Any] = {}
    for name in ("cron", "promise_id"):
        changed[name] = visit.field(name)
        if not changed[name]:
            raise Failure(f"give the {'cron expression' if name == 'cron' else 'ids of the promises'}", USAGE)
    for name, allowed in CHOICES.items():
        changed[name] = visit.field(name)
        if changed[name] not in allowed:
            raise Failure(f"{name.replace('_', ' ')} is one of {', '.join(allowed)}", USAGE)
    changed["timezone"] = visit.field("timezone") or "UTC"
    note = _text(visit, "description")
    changed["description"] = schedule.description if note == (schedule.description or "").strip() else note
    changed["promise_timeout"] = milliseconds_of(visit.field("timeout"), "the timeout")
    changed["promise_param"], tags = _param_of(visit, schedule)
    changed["promise_tags"] = tags | _tags_of(visit)
    visit.session.ask(updated(schedule, changed))
    return visit.back(f"{schedule.id} is changed.", "/schedules")


def _read(visit: Visit, id: str) -> Schedule:
    schedule = visit.session.ask(ScheduleGet(id)).schedule
    if schedule is None:
        raise Failure(f"there is no schedule {id!r}", NOT_FOUND)
    return schedule


def _seen(schedule: Schedule) -> str:
    """Return a text that changes with the definition of a schedule."""
    return sha256(msgspec.json.encode(updated(schedule, {}), order="sorted")).hexdigest()[:16]


def _param_fields(schedule: Schedule) -> dict[str, str]:
    """Return the fields for the param of the promises: those of a call, or `data`. Return none if it is not shown."""
    param = schedule.promise_param
    if is_encrypted(param) or len(param.data or "") > LISTED_CHARS:
        return {}
    data = None if param.data is None else readable(param.data)
    if is_object(data) and isinstance(data.get("func"), str):
        args: Any = data.get("args") or []
        kwargs: Any = data.get("kwargs") or {}
        version = str(data.get("version") or 1)
        return {"func": data["func"], "args": _json(args), "kwargs": _json(kwargs), "version": version}
    return {"data": "" if param.data is None else _json(data)}


def _param_of(visit: Visit, schedule: Schedule) -> tuple[Value, dict[str, str]]:
    """Return the param of the promises, and their tags other than a user's own. Texts that are as before keep it."""
    before = _param_fields(schedule)
    given = {name: _text(visit, name) for name in before}
    tags = {name: text for name, text in schedule.promise_tags.items() if name.startswith(RESERVED)}
    if target := visit.field("target"):
        tags[TARGET] = expand(target)
    if given == before:
        return schedule.promise_param, tags
    if "data" in before:
        text = given["data"]
        return codec.encode(json_of(text, "the data"), "the data") if text else EMPTY, tags
    args: Any = json_of(given["args"] or "[]", "the positional arguments")
    kwargs: Any = json_of(given["kwargs"] or "{}", "the named arguments")
    version = number_in(given["version"] or "1")
    if not given["func"]:
        raise Failure("give the function", USAGE)
    if not is_list(args) or not is_object(kwargs):
        raise Failure("positional arguments are a JSON array, and named ones a JSON object", USAGE)
    if version is None:
        raise Failure(f"the version is a number, not {given['version']!r}", USAGE)
    return codec.encode_call(given["func"], tuple(args), kwargs, version), {**tags, FUNC: given["func"]}


def _own_tags(schedule: Schedule) -> dict[str, str]:
    return {name: text for name, text in sorted(schedule.promise_tags.items()) if not name.startswith(RESERVED)}


def _tags_of(visit: Visit) -> dict[str, str]:
    tags: Any = json_of(visit.field("tags") or "{}", "the tags")
    if not is_object(tags) or not all(isinstance(text, str) for text in tags.values()):
        raise Failure("tags are a JSON object whose values are texts", USAGE)
    if reserved := [name for name in tags if name.startswith(RESERVED)]:
        raise Failure(f"{reserved[0]} is set by other fields", USAGE)
    return tags


def _text(visit: Visit, name: str) -> str:
    """Return the text of a field with several lines. Browsers end lines with CR and LF."""
    return visit.field(name).replace("\r\n", "\n")


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)


def _shown(visit: Visit, schedule: Schedule) -> ShownSchedule:
    last, status = None, ""
    if schedule.last_promise is not None:
        found = visit.session.find(PromiseGet(schedule.last_promise))
        last = None if found is None else found.promise
        status = "" if last is None else _status(visit, last)
    runs = Schedules(visit.session.store, visit.session.clock).next_runs(schedule.id, NEXT)
    function = schedule.promise_tags.get(FUNC, "")
    return ShownSchedule(schedule, function, runs, last, status, shown_payload(schedule.promise_param))


def _status(visit: Visit, promise: PromiseView) -> str:
    """Return what an occurrence does now, as the list of executions says it."""
    if not promise.pending:
        return promise.state
    found = visit.session.find(ExecutionGet(promise.id)) if visit.takes(ExecutionGet.kind) else None
    return shown_execution(found.executions[0]).status if found is not None and found.executions else "waiting"


def pause(visit: Visit) -> Response:
    """Pause a schedule."""
    visit.session.ask(SchedulePause(_id(visit)))
    return visit.back(f"{_id(visit)} is paused.", "/schedules")


def resume(visit: Visit) -> Response:
    """Resume a schedule."""
    visit.session.ask(ScheduleResume(_id(visit)))
    return visit.back(f"{_id(visit)} is resumed.", "/schedules")


def trigger(visit: Visit) -> Response:
    """Create an occurrence now."""
    promise = visit.session.ask(ScheduleTrigger(_id(visit))).promise
    assert promise is not None
    return visit.back(f"{_id(visit)} has created {promise.id}.", "/execution", id=promise.id)


def backfill(visit: Visit) -> Response:
    """Create the occurrences of a part of the past that have no promise."""
    id, now = _id(visit), visit.now
    begin = instant_of(visit.field("from") or None, "the begin", now)
    end = instant_of(visit.field("to") or None, "the end", now)
    if begin is None:
        raise Failure("give the begin of the part of the past", USAGE)
    try:
        done = Schedules(visit.session.store, visit.session.clock).backfill(id, begin, now if end is None else end)
    except ValueError as error:
        raise Failure(str(error), USAGE) from None
    said = f"{done.created} occurrences of {id} were created, {done.existing} existed already"
    return visit.back(f"{said}, {done.skipped} were left out.", "/schedules")


def _id(visit: Visit) -> str:
    id = visit.named()
    if not id:
        raise Failure("the form names no schedule", USAGE)
    return id
