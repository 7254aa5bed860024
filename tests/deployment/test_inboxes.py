"""Messages to workflows in a deployment: crashes at each request, deliveries that are lost, large values, the API."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, get_args

import pytest

from resonate.errors import ReceiverEndedError, ReceiverNotFoundError
from resonate.payloads import codec
from resonate.testing.faults import Killed
from resonate_infra.testing.moto.cloud import Moment
from resonate_infra.testing.stack import OfflineStack
from resonate_store.model.ids import message_id
from resonate_store.model.records import Claim
from tests.deployment.conftest import IN_BOTH_DELIVERIES, Begin
from tests.deployment.functions.conftest import ask
from tests.support import journal
from tests.support.faults import Fault, in_turn, positions
from tests.support.present import present

LEAST = {("writer", "WorkerFunction"): 40, ("stream", "WorkerFunction"): 38, ("stream", "DispatchFunction"): 6}
"""Minimum requests of each function for one conversation."""


@in_turn(*get_args(Moment))
@pytest.mark.parametrize(("delivery", "function"), LEAST, indirect=["delivery"], scope="module")
def test_conversation_survives_a_fault_at_each_request(
    stack: OfflineStack, begin: Begin, delivery: str, function: str, moments: tuple[Moment, ...]
) -> None:
    """One workflow sends to another, which waits with a timeout, runs a step for each message and publishes."""
    for position in positions():
        stack.clear()
        journal.clear()
        moment = moments[position % len(moments)]
        spelling = "chat" if position % 2 else "chat_async"
        id = f"{function}-{moment}-{position}"
        handle = begin(id, spelling)
        fault = stack.cloud.fault = Fault(stack, function, moment, position)
        begin(f"{id}-talk", "talk", id)

        stack.run_until_complete(id)
        stack.run_until_complete(f"{id}-talk")

        assert handle.result(0) == ["hello", "bye"], fault.hit
        assert stack.published(id) == {"count": 2}, fault.hit
        assert fault.rerun() == [], fault.hit
        inbox = present(present(stack.store.record(id)).inbox)
        assert (inbox.accepted, inbox.waiting, inbox.waiting_bytes) == (2, 0, 0), fault.hit
        if fault.hit is None:
            break
    assert position >= LEAST[delivery, function]


@IN_BOTH_DELIVERIES
@in_turn(*get_args(Moment))
def test_message_over_the_api_survives_a_fault_at_each_request(
    stack: OfflineStack, begin: Begin, moments: tuple[Moment, ...]
) -> None:
    """A client repeats a message that gets no answer, with the same key. It is accepted once."""
    for position in positions():
        stack.clear()
        moment = moments[position % len(moments)]
        id = f"asked-{moment}-{position}"
        handle = begin(id, "chat")
        stack.advance(seconds=5)
        fault = stack.cloud.fault = Fault(stack, "ApiFunction", moment, position)
        for text in ("one", "bye"):
            value = {"data": codec.encode(text, "text").data}
            for _ in range(3):
                with suppress(Killed):
                    if (
                        ask(stack, "message.send", {"id": id, "name": "chat", "key": text, "value": value}).status
                        == 200
                    ):
                        break
        stack.run_until_complete(id)
        assert handle.result(0) == ["one", "bye"], fault.hit
        if fault.hit is None:
            break
    assert position >= 3


@IN_BOTH_DELIVERIES
def test_message_resumes_workflow_within_its_timeout(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("c", "chat")
    stack.advance(hours=1, minutes=1)
    stack.send("c", "chat", "hello")
    stack.advance(minutes=1)
    assert handle.published("count") == 2
    stack.lose_messages(1)  # the sweep offers the task again
    stack.send("c", "chat", "bye")
    stack.advance(minutes=3)
    assert handle.result(0) == ["reminded", "hello", "bye"]
    with pytest.raises(ReceiverEndedError):
        stack.send("c", "chat", "late")
    with pytest.raises(ReceiverNotFoundError):
        stack.send("nobody", "chat", "hello")
    stack.advance(hours=3)
    assert stack.next_event_at() is None or stack.history("c").root.settled_at is not None


def test_large_message_is_stored_in_s3_and_replayed(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("c", "chat")
    large = "x" * 200_000
    stack.send("c", "chat", large, idempotency_key="large")
    record = present(stack.store.record(message_id("c", "large")))
    assert isinstance(record.param, Claim)
    stack.advance(minutes=5)
    stack.send("c", "chat", "bye")
    assert handle.result() == [large, "bye"]
    assert present(present(stack.store.record("c")).inbox).waiting_bytes == 0


def test_messages_are_deleted_with_their_execution(stack: OfflineStack, begin: Begin) -> None:
    begin("c", "chat")
    for text in ("unread", "chat"):
        stack.send("c", text, "bye")
    stack.run_until_complete("c")
    stack.expires = True
    stack.advance(days=31)
    found: list[Any] = stack.cloud.client("dynamodb").scan(TableName=stack.deployment.table_name)["Items"]
    assert [item["sk"]["S"] for item in found if item["pk"]["S"] == "p#c"] == []
