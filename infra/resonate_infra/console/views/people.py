"""Promises that people have to settle."""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from starlette.responses import Response

from resonate.errors import ResonateStoreError
from resonate.executions import DurableExecution, Executions
from resonate.payloads.codec import encode, encode_error
from resonate_infra.console.payloads import LISTED_CHARS, ShownPayload, shown_payload
from resonate_infra.console.views.execution import is_for_people
from resonate_infra.console.views.executions import WITHOUT_REQUEST
from resonate_infra.console.visit import Visit
from resonate_infra.inspection.arguments import json_of
from resonate_infra.inspection.exits import Failure
from resonate_store.model.records import EMPTY, PromiseView, Value
from resonate_store.model.requests import PromiseGet, PromiseSearch, PromiseSettle
from resonate_store.model.tags import ORIGIN

EXECUTIONS: Final = 50
"""How many executions that wait are looked at for one page."""
MOST_BELOW: Final = 200
"""Maximum number of pending promises of one execution that are read."""
MOST_ASKED: Final = 100
"""Maximum number of promises that one page shows."""


class Question(Struct):
    """A promise that a person has to settle, with its data and the execution that it belongs to."""

    promise: PromiseView
    data: ShownPayload
    execution: str


def waiting(visit: Visit) -> Response:
    """Show the promises that wait for people. They are found below the executions that wait."""
    executions, cursor = _executions(visit)
    asked: list[Question] = []
    for execution in executions:
        if len(asked) <= MOST_ASKED:
            asked.extend(_asked(visit, execution))
    template = "parts/people.html" if visit.get("part") else "people.html"
    return visit.page(
        template, asked=asked[:MOST_ASKED], more=len(asked) > MOST_ASKED, following=cursor, cursor=visit.get("cursor")
    )


def _executions(visit: Visit) -> tuple[list[str], str | None]:
    cursor = visit.get("cursor") or None
    try:
        page = Executions(visit.session.store, visit.session.clock).list(
            state="waiting", limit=EXECUTIONS, cursor=cursor
        )
    except ResonateStoreError as error:
        if error.status not in WITHOUT_REQUEST:
            raise
        found = visit.session.ask(PromiseSearch("pending", roots=True, limit=EXECUTIONS, cursor=cursor))
        return [each.id for each in found.promises or ()], found.cursor
    return [_id(each) for each in page.items], page.cursor


def _id(execution: DurableExecution) -> str:
    return execution.id


def _asked(visit: Visit, id: str) -> list[Question]:
    root = visit.session.find(PromiseGet(id))
    if root is None or root.promise is None:
        return []
    found = [root.promise]
    found += visit.session.below(id, ".", MOST_BELOW, "pending")
    return [
        Question(each, shown_payload(each.param, most_chars=LISTED_CHARS), each.tags.get(ORIGIN, each.id))
        for each in found
        if is_for_people(each) and each.tags.get(ORIGIN, id) == id
    ]


def settle(visit: Visit) -> Response:
    """Resolve or reject a promise."""
    id, state = visit.named(), visit.field("state")
    if state not in ("resolved", "rejected"):
        raise Failure(f"a promise is resolved or rejected, not {state!r}")
    value = _value(visit, state == "resolved")
    promise = visit.session.ask(PromiseSettle(id, "resolved" if state == "resolved" else "rejected", value)).promise
    assert promise is not None
    if promise.state != state or promise.value != value:
        raise Failure(f"promise {id!r} is {promise.state} already, and stays so")
    visit.state.histories.forget(promise.tags.get(ORIGIN, id))
    return visit.back(f"{id} is {state}.", "/people" if visit.field("back") == "people" else "/promise", id=id)


def _value(visit: Visit, resolved: bool) -> Value:
    if not resolved:
        return encode_error(Exception(visit.field("message") or "rejected by a person"))
    text = visit.field("value")
    return encode(json_of(text, "the value"), "the value") if text else EMPTY
