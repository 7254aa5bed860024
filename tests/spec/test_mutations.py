"""Servers that answer almost as they should: the corpus finds every one of them out.

For each kind and each status there is one server whose answers of that sort are changed on their way to the runner.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from resonate_infra.conformance.runner import Failed, NoResponse, Runner, Send
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.protocol.service import Service
from tests.support.corpus import SCRIPTS, STATUSES
from tests.support.services import service_over

Change = Callable[[dict[str, Any]], bool]
"""Changes the envelope of a response, if it can be changed so."""

SILENT = {"debug.start", "debug.stop", "debug.reset", "debug.tick"}
"""Their answers say nothing."""
OTHERS = {200: 201, 300: 200, 400: 422, 403: 401, 404: 410, 409: 404, 410: 409, 422: 400, 429: 503}


def another_status(envelope: dict[str, Any]) -> bool:
    envelope["head"]["status"] = OTHERS[envelope["head"]["status"]]
    return True


def another_correlation(envelope: dict[str, Any]) -> bool:
    envelope["head"]["corrId"] += "x"
    return True


def no_text(envelope: dict[str, Any]) -> bool:
    """An error as the official SDKs tolerate it, but servers do not answer."""
    if not isinstance(envelope["data"], str):
        return False
    envelope["data"] = {"error": envelope["data"]}
    return True


def records_in(data: Any) -> list[dict[str, Any]]:
    """The promises, tasks and schedules in the data of a response, wherever they are."""
    match data:
        case {"id": str()}:
            return [data]
        case dict():
            return [record for value in data.values() for record in records_in(value)]
        case list():
            return [record for value in data for record in records_in(value)]
        case _:
            return []


def another_record(envelope: dict[str, Any]) -> bool:
    records = records_in(envelope["data"])
    for record in records:
        record["id"] += "x"
    return bool(records)


def another_state(envelope: dict[str, Any]) -> bool:
    records = [record for record in records_in(envelope["data"]) if "state" in record]
    for record in records:
        record["state"] = "resolved" if record["state"] == "rejected" else "rejected"
    return bool(records)


def another_version(envelope: dict[str, Any]) -> bool:
    records = [record for record in records_in(envelope["data"]) if "version" in record]
    for record in records:
        record["version"] += 1
    return bool(records)


def a_key_too_many(envelope: dict[str, Any]) -> bool:
    if not isinstance(envelope["data"], dict):
        return False
    envelope["data"]["extra"] = 1
    return True


def changed(send: Send, kind: str, status: int, change: Change, seen: list[str]) -> Send:
    """A server whose answers to `kind` are changed where they have this status."""

    def sending(body: bytes) -> tuple[int, bytes]:
        found, answer = send(body)
        envelope = json.loads(answer)
        if (envelope["kind"], found) == (kind, status) and change(envelope):
            seen.append(kind)
            return envelope["head"]["status"], json.dumps(envelope).encode()
        return found, answer

    return sending


def found_out(kind: str, status: int, change: Change) -> bool | None:
    """Whether any script fails over such a server; None if nothing could be changed."""
    seen: list[str] = []
    options: dict[str, Any]
    for script in SCRIPTS:
        if not kind.startswith("debug.") and (kind, status) not in {(s.command, s.status) for s in script.steps}:
            continue
        if script.debug is False:
            clock = ManualClock(1_234)
            send, options = Service(MemoryStore(clock)).answer, {"clock": clock.now}
        else:
            send, options = service_over(MemoryStore).answer, {}
        try:
            Runner(changed(send, kind, status, change, seen), **options).run(script)
        except (Failed, NoResponse):
            return True
    return False if seen else None


@pytest.mark.parametrize("change", [another_status, another_correlation])
def test_corpus_fails_if_a_status_or_correlation_is_changed(change: Change) -> None:
    missed = [(kind, each) for kind, all in STATUSES.items() for each in all if not found_out(kind, each, change)]

    assert missed == []


def test_corpus_fails_if_an_error_is_an_object() -> None:
    errors = [(kind, each) for kind, all in STATUSES.items() for each in all if each >= 400]

    assert [(kind, each) for kind, each in errors if not found_out(kind, each, no_text)] == []


@pytest.mark.parametrize("change", [another_record, another_state, another_version, a_key_too_many])
def test_corpus_fails_if_a_success_is_changed(change: Change) -> None:
    successes = [(kind, each) for kind, all in STATUSES.items() if kind not in SILENT for each in all if each < 400]
    outcomes = {each: found_out(*each, change) for each in successes}

    assert [each for each, outcome in outcomes.items() if outcome is False] == []
    assert True in outcomes.values()
