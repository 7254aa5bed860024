"""Transitions of messages and of published state (docs/rules.md M1 to M9).

A message is a promise below the execution that receives it. It is pending until the execution takes it. The record of
the execution counts its messages. A transition that accepts or takes a message writes both records together.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from resonate_store.machine.draft import Draft, Transition, settled
from resonate_store.machine.promises import already_delivered
from resonate_store.machine.tasks import not_held, offered
from resonate_store.model.ids import message_id, state_id
from resonate_store.model.limits import MAX_WAITING_BYTES, size_of
from resonate_store.model.message_requests import MessageSend, StatePut, TaskPublish, TaskReceive
from resonate_store.model.records import EMPTY, Claim, Inbox, Record, Value
from resonate_store.model.requests import PromiseRecord, Response
from resonate_store.model.tags import (
    BRANCH,
    IDEMPOTENCY_KEY,
    MESSAGE,
    ORIGIN,
    PARENT,
    PREFIX,
    PUBLISHED,
    PUBLISHER,
    SCOPE,
    SEQUENCE,
    TAKEN,
)

MAX_WAITING: Final = 10_000
"""The most messages of one execution that are not taken."""


def send(request: MessageSend, now: int) -> Transition:
    """Accept a message, in one write with the record of the execution (M1, M2)."""
    draft = Draft(now)
    id = message_id(request.id, request.key)
    record, message = yield from draft.read(request.id, id)
    if message is not None:
        return draft.outcome(_repeated(request, message))
    if record is None:
        return draft.outcome(Response(status=404, error=f"there is no execution {request.id!r}: check the id"))
    if record.task is None:
        return draft.outcome(Response(status=422, error=_without_inbox(record)))
    if not record.pending:
        error = f"execution {record.id!r} is {record.state} and takes no more messages"
        return draft.outcome(Response(status=410, error=error))
    size = size_of(request.value)
    inbox = record.inbox or Inbox()
    if inbox.waiting >= MAX_WAITING or inbox.waiting_bytes + size > MAX_WAITING_BYTES:
        error = (
            f"the inbox of execution {record.id!r} is full: {inbox.waiting} messages of {inbox.waiting_bytes} bytes"
            f" wait, and {MAX_WAITING} messages or {MAX_WAITING_BYTES} bytes are the limit: send it again later"
        )
        return draft.outcome(Response(status=429, error=error))
    inbox = Inbox(inbox.accepted + 1, inbox.waiting + 1, inbox.waiting_bytes + size)
    message = draft.put(_accepted(request, record, id, inbox.accepted, now))
    task = record.task
    if task.state == "suspended" and request.name in task.receives:  # M3
        task = replace(offered(task, now), resumes=(id,))
    draft.put(replace(record, inbox=inbox, task=task))
    return draft.outcome(Response(promise=message.promise()))


def _accepted(request: MessageSend, receiver: Record, id: str, place: int, now: int) -> Record:
    """Return the record of a new message. Its deadline is that of the execution."""
    tags = {
        MESSAGE: request.name,
        SEQUENCE: str(place),
        IDEMPOTENCY_KEY: request.key,
        SCOPE: "global",
        PARENT: receiver.id,
        ORIGIN: receiver.tags.get(ORIGIN, receiver.id),
        BRANCH: id,
        PREFIX: receiver.tags.get(PREFIX, receiver.id),
    }
    return Record(
        id=id, state="pending", timeout_at=receiver.timeout_at, created_at=now, param=request.value, tags=tags
    )


def _repeated(request: MessageSend, message: Record) -> Response:
    """Answer a message whose key is known. Its value is not compared: an encrypted value differs each time."""
    name = message.tags.get(MESSAGE)
    if name == request.name:
        return Response(promise=message.promise())
    what = "a promise" if name is None else f"a message {name!r}"
    error = f"execution {request.id!r} has {what} with the idempotency key {request.key!r}: choose another key"
    return Response(status=409, error=error)


def _without_inbox(record: Record) -> str:
    parent, origin = record.tags.get(PARENT, ""), record.tags.get(ORIGIN, "")
    advice = f": send to its execution, {origin!r}" if parent != record.id and origin not in ("", record.id) else ""
    return f"promise {record.id!r} has no inbox, because it has no task{advice}"


def receive(request: TaskReceive, now: int) -> Transition:
    """Take a message for a command, in one write with the record of the execution (M4).

    A repeated request gets the same message.
    """
    draft = Draft(now)
    timer_id = (request.place,) if request.timed else ()
    record, message, *timers = yield from draft.read(request.id, request.message, *timer_id)
    refusal = not_held(record, request.version)
    if record is None or refusal is not None:
        return draft.outcome(refusal or Response(status=404, error="Task not found"))
    if message is None or message.tags.get(PARENT) != request.id or message.tags.get(MESSAGE) != request.name:
        error = f"execution {request.id!r} has no message {request.name!r} with the id {request.message!r}"
        return draft.outcome(Response(status=422, error=error))
    taken_by = message.tags.get(TAKEN)
    if taken_by == request.place:
        return draft.outcome(Response(promise=message.promise()))
    if taken_by is not None or not message.pending:
        taken = f"is taken by {taken_by!r}" if taken_by is not None else f"is {message.state}"
        return draft.outcome(Response(status=422, error=f"message {request.message!r} {taken}"))
    tags = {**message.tags, TAKEN: request.place}
    inbox = record.inbox or Inbox()
    left = max(0, inbox.waiting - 1)
    bytes_left = max(0, inbox.waiting_bytes - _size_of(message.param)) if left else 0
    message = draft.put(replace(settled(message, "resolved", EMPTY, now), tags=tags))
    draft.put(replace(record, inbox=Inbox(inbox.accepted, left, bytes_left)))
    for timer in timers:
        if timer is not None and timer.pending:
            ended = settled(timer, "rejected_canceled", EMPTY, now)
            # Only this task waits for it as a rule, and it is held, so nothing has to be delivered.
            alone = timer.callbacks.keys() <= {request.id} and not timer.listeners
            draft.put(already_delivered(ended) if alone else ended)
    return draft.outcome(Response(promise=message.promise()))


def _size_of(value: Value) -> int:
    """Return the size (bytes) of a waiting message, which may be in S3."""
    return value.size if isinstance(value, Claim) else size_of(value)


def record_of(request: TaskPublish) -> PromiseRecord:
    """Return the request that records the command of a publication. It has no value: the item of the state has it."""
    return PromiseRecord(request.place, request.timeout_at, request.timeout_at, "resolved", tags=request.tags)


def put_state(request: StatePut, now: int) -> Transition:
    """Store a published value in the item of its key, in place of the value before (M8)."""
    publish = request.publish
    id = state_id(publish.id, publish.key)
    draft = Draft(now)
    (item,) = yield from draft.read(id)
    if item is not None and PUBLISHED not in item.tags:
        return draft.outcome(Response(status=422, error=f"the id {id!r} of published state is that of a promise"))
    if item is not None and item.tags.get(PUBLISHER) == publish.place:
        return draft.outcome(Response(promise=item.promise()))
    tags = {
        PUBLISHED: publish.key,
        PUBLISHER: publish.place,
        SCOPE: "global",
        PARENT: publish.id,
        ORIGIN: publish.tags.get(ORIGIN, publish.id),
        BRANCH: id,
        PREFIX: publish.tags.get(PREFIX, publish.id),
    }
    item = draft.put(
        Record(
            id=id,
            state="resolved",
            timeout_at=publish.timeout_at,
            created_at=now if item is None else item.created_at,
            settled_at=now,
            param=publish.value,
            tags=tags,
        )
    )
    return draft.outcome(Response(promise=item.promise()))
