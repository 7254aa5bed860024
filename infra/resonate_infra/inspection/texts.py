"""Texts and JSON of promises, tasks and schedules, which the command line and the console show.

The JSON is that of the protocol (docs/protocol.md 1.3), with decoded payloads. Where `data` is stored as base64 of
JSON, it is the value itself. `raw` shows `data` as it is stored. Instants are in UTC.
"""

from __future__ import annotations

from typing import Any

import msgspec

from resonate.payloads.readable import call_in, is_encrypted, one_line, readable
from resonate.payloads.readable import error_text as readable_error
from resonate_infra.text import number_in, plain
from resonate_store.model import clock
from resonate_store.model.records import PromiseView, Schedule, Task, Value
from resonate_store.model.tags import ELAPSED


def payload(value: Value, raw: bool) -> dict[str, Any]:
    """Return a payload as JSON: `headers` and `data`, each only if it exists. `raw` does not decode `data`."""
    shown: dict[str, Any] = msgspec.to_builtins(value)
    if not raw and value.data is not None:
        shown["data"] = readable(value.data)
    return shown


def promise_json(promise: PromiseView, raw: bool) -> dict[str, Any]:
    """Return a promise as JSON."""
    return {
        **msgspec.to_builtins(promise),
        "param": payload(promise.param, raw),
        "value": payload(promise.value, raw),
    }


def schedule_json(schedule: Schedule, raw: bool) -> dict[str, Any]:
    """Return a schedule as JSON."""
    return {**msgspec.to_builtins(schedule), "promiseParam": payload(schedule.promise_param, raw)}


def task_json(task: Task) -> dict[str, Any]:
    """Return a task as JSON."""
    return msgspec.to_builtins(task)


def held(task: Task) -> str:
    """Return the state of a task. Of an acquired one, also its worker and until when it has the task."""
    worker = f" by {plain(task.pid)}" if task.pid else ""
    until = f" until {instant(task.expires_at)}" if task.expires_at is not None else ""
    return f"{task.state}{worker}{until}" if task.state == "acquired" else task.state


def shown_version(task: Task) -> str:
    """Return which version of a function runs a task, such as `resonate-worker:7`, or an empty text if any does."""
    if task.pinned is None:
        return ""
    return plain(task.pinned.removeprefix("lambda://")) or "the next one that takes it"


def compact(value: Any) -> str:
    """Return a value as JSON on one line. An empty string stays empty."""
    return plain(one_line(value))


def outcome(promise: PromiseView) -> str:
    """Return the value or the error of a promise on one line. Return an empty text if it has neither."""
    value = payload(promise.value, False)
    if "data" not in value:
        return ""
    if promise.state != "resolved":
        return error_text(promise.value)
    return "an encrypted value" if is_encrypted(promise.value) else compact(value["data"])


def error_text(value: Value) -> str:
    """Return the error in a payload on one line."""
    return plain(readable_error(value))


def function_of(promise: PromiseView) -> str:
    """Return the name of the function that a promise calls. Return an empty text if it is not a call."""
    return call_in(promise)[0] or ""


def instant(at: int | None) -> str:
    """Return an instant (ms) as text in UTC: `never` for a deadline in the far future, empty for None."""
    return "" if at is None else clock.instant(at)


def duration(milliseconds: int) -> str:
    """Return a duration (ms) as text such as 12ms, 3.4s, 5m 20s, 2h 5m or 3d 4h."""
    if milliseconds < 1000:
        return f"{max(0, milliseconds)}ms"
    seconds = milliseconds // 1000
    if seconds < 60:
        return f"{milliseconds / 1000:.1f}s"
    if seconds < 3600:
        return f"{seconds // 60}m {seconds % 60}s"
    if seconds < 86_400:
        return f"{seconds // 3600}h {seconds % 3600 // 60}m"
    return f"{seconds // 86_400}d {seconds % 86_400 // 3600}h"


def exact_duration(milliseconds: int) -> str:
    """Return a duration (ms) with one unit and without rounding, such as 90m or 7d. A field of a form takes it."""
    for unit_ms, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")):
        if milliseconds and milliseconds % unit_ms == 0:
            return f"{milliseconds // unit_ms}{unit}"
    return f"{milliseconds}ms"


def taken_ms(promise: PromiseView) -> int | None:
    """Return how long (ms) a settled promise took, or None if it is pending."""
    return None if promise.settled_at is None else promise.settled_at - begin_of(promise)


def begin_of(promise: PromiseView) -> int:
    """Return the instant (ms) at which a promise began.

    Some steps are recorded only when they end. The tag `resonate:elapsed` says how long such a step ran before.
    """
    return promise.created_at - (number_in(promise.tags.get(ELAPSED, "")) or 0)


def taken(promise: PromiseView) -> str:
    """Return the duration of `taken_ms` as text, empty if the promise is pending."""
    milliseconds = taken_ms(promise)
    return "" if milliseconds is None else duration(milliseconds)
