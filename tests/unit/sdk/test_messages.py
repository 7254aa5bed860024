"""Messages to workflows, and what workflows publish, in both spellings."""

from __future__ import annotations

import random
from collections.abc import Generator
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.encryption import AESGCMEncryptor
from resonate.errors import (
    InboxFullError,
    MessageConflictError,
    NonDeterminismError,
    PayloadError,
    PayloadTooLargeError,
    ReceiverEndedError,
    ReceiverNotFoundError,
)
from resonate.testing import MemoryStack, Stuck, replay
from resonate_store.model.ids import message_id
from resonate_store.model.records import Inbox
from tests.support.present import present

Workflow = Generator[Any, Any, Any]

program = Resonate.local()


def note(ctx: Context, text: str) -> str:
    ctx.get_dependency("notes").append(text)
    return text


@program.register
def chat(ctx: Context) -> Workflow:
    """Receive until "bye". Each message has a step, and a publication."""
    got: list[str] = []
    while not got or got[-1] != "bye":
        got.append((yield ctx.receive("chat")))
        yield ctx.run(note, got[-1])
        yield ctx.publish("count", len(got))
    return got


@program.register(name="chat_async")
async def chat_async(ctx: Context) -> list[str]:
    got: list[str] = []
    while not got or got[-1] != "bye":
        got.append(await ctx.receive("chat", result_type=str))
        await ctx.run(note, got[-1])
        await ctx.publish("count", len(got))
    return got


@program.register
def reminded(ctx: Context) -> Workflow:
    """Wait an hour for an answer, then a day more, then for the answer."""
    try:
        return (yield ctx.receive("answer", timeout=3600))
    except TimeoutError:
        yield ctx.sleep(86_400)
        return ["late", (yield ctx.receive("answer"))]


@program.register(name="reminded_async")
async def reminded_async(ctx: Context) -> Any:
    try:
        return await ctx.receive("answer", timeout=3600)
    except TimeoutError:
        await ctx.sleep(86_400)
        return ["late", await ctx.receive("answer")]


@program.register
def polls(ctx: Context) -> Workflow:
    """Look for a message, send one to itself, and look again, all in one invocation."""
    found: list[Any] = []
    for _ in range(2):
        try:
            found.append((yield ctx.receive("note", timeout=0)))
        except TimeoutError:
            found.append(None)
            yield ctx.send(ctx.id, "note", "mine")
    return found


def nested(ctx: Context, name: str) -> Workflow:
    first = yield ctx.receive(name)
    yield ctx.sleep(60)
    return [first, (yield ctx.receive(name))]


@program.register
def parent(ctx: Context) -> Workflow:
    """Two nested workflows share the inbox of their execution."""
    a = yield ctx.begin_run(nested, "a")
    b = yield ctx.begin_run(nested, "b")
    return [(yield a), (yield b)]


@program.register
def impatient_parent(ctx: Context) -> Workflow:
    """A nested workflow that waits for a message times out."""
    try:
        yield ctx.run(nested, "a").options(timeout=60)
    except Exception as error:
        return type(error).__name__


def naps(ctx: Context, id: str) -> Workflow:
    """Nap in the process of the worker, and send a message after the first nap."""
    for n in range(6):
        yield ctx.sleep(0.5)
        if n == 0:
            yield ctx.send(id, "m", "sent")
    return (yield ctx.time.time())


def hears(ctx: Context) -> Workflow:
    yield ctx.receive("m")
    return (yield ctx.time.time())


@program.register
def awake(ctx: Context) -> Workflow:
    """One nested workflow waits for a message, while the other one keeps the worker in its process."""
    naps_until = yield ctx.begin_run(naps, ctx.id)
    heard_at = yield ctx.begin_run(hears)
    return (yield naps_until) - (yield heard_at)


@program.register
def sends(ctx: Context, id: str) -> Workflow:
    yield ctx.send(id, "chat", "hello")
    yield ctx.sleep(60)
    yield ctx.send(id, "chat", "bye")


@program.register(name="sends_async")
async def sends_async(ctx: Context, id: str) -> None:
    await ctx.send(id, "chat", "hello")
    await ctx.sleep(60)
    await ctx.send(id, "chat", "bye")


@program.register
def refused(ctx: Context, id: str) -> Workflow:
    """Raise the same error before and after a replay, although the receiver exists by then."""
    try:
        yield ctx.send(id, "chat", "hello")
    except ReceiverNotFoundError as error:
        yield ctx.sleep(60)
        return error.mesg


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def stack(notes: list[str]) -> MemoryStack:
    return MemoryStack(program, dependencies={"notes": notes})


BOTH = pytest.mark.parametrize("spelling", ["", "_async"], ids=["generator", "async"])


@BOTH
def test_messages_are_received_in_order_of_acceptance(stack: MemoryStack, notes: list[str], spelling: str) -> None:
    stack.lose_messages(1)  # so that the first two messages wait before the workflow begins
    handle = stack.start(f"chat{spelling}", id="c")
    stack.send("c", "chat", "one")
    stack.send("c", "other", "not for this name")
    stack.send("c", "chat", "two")
    stack.advance(minutes=1)
    assert notes == ["one", "two"]
    assert handle.published("count") == 2

    stack.send("c", "chat", "bye")
    assert handle.result() == ["one", "two", "bye"]
    assert notes == ["one", "two", "bye"]
    assert stack.history("c").commands[:3] == ["receive chat", "run note", "publish count"]
    assert present(stack.store.embedded).record("c").inbox == Inbox(4, 1, 28)  # type: ignore[union-attr]


@BOTH
def test_message_is_awaited_without_a_worker(stack: MemoryStack, spelling: str) -> None:
    stack.start(f"chat{spelling}", id="c")
    with pytest.raises(Stuck, match=r"c: a message: stack.send\('c', 'chat', value\)"):
        stack.run_until_complete("c")
    stack.reset_counts()
    stack.send("c", "other")
    assert stack.invocations.total() == 0
    stack.send("c", "chat", "hello")
    assert stack.invocations.total() == 1
    assert stack.requests["task.receive"] == 1


@BOTH
def test_timeout_that_was_raised_is_raised_in_replays(stack: MemoryStack, spelling: str) -> None:
    handle = stack.start(f"reminded{spelling}", id="r")
    stack.advance(hours=2)
    stack.send("r", "answer", "too late")
    assert not handle.done()
    assert handle.result() == ["late", "too late"]
    assert stack.history("r").commands == ["receive answer", "a sleep", "receive answer"]

    handle = stack.start(f"reminded{spelling}", id="r2")
    stack.advance(minutes=59)
    stack.send("r2", "answer", "in time")
    assert handle.result(0) == "in time"
    assert stack.history("r2")["r2.1"].state == "rejected_canceled"
    assert stack.next_event_at() is None or stack.advance(hours=1) is None


def test_timeout_of_zero_looks_for_new_messages(stack: MemoryStack) -> None:
    assert stack.run(polls) == [None, "mine"]


@pytest.mark.parametrize("kind", ["task.receive", "task.suspend", "task.fulfill", "children"])
def test_nested_workflows_receive_from_their_execution(stack: MemoryStack, kind: str) -> None:
    stack.crash(after=kind)
    handle = stack.start(parent, id="p")
    for name in "abba":
        stack.send("p", name, f"{name}{stack.requests['message.send']}")
        stack.advance(minutes=5)
    assert [[text[0] for text in texts] for texts in handle.result()] == [["a", "a"], ["b", "b"]]
    assert stack.history("p").root.value == handle.result()


def test_message_is_seen_between_short_waits_of_the_worker(stack: MemoryStack) -> None:
    assert stack.run(awake) >= 1.5
    assert stack.invocations.total() == 1


def test_nested_workflow_times_out_while_it_receives(stack: MemoryStack) -> None:
    assert stack.run(impatient_parent) == "ResonateTimedoutError"


@BOTH
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("kind", ["message.send", "task.receive", "task.publish", "task.suspend", "promise.record"])
def test_kill_at_a_request_neither_loses_nor_repeats_messages(
    stack: MemoryStack, spelling: str, moment: str, kind: str
) -> None:
    for kills in range(1, 7):
        stack.clear()
        point = stack.crash(
            before=kind if moment == "before" else None, after=kind if moment == "after" else None, times=kills
        )
        receiver = stack.start(f"chat{spelling}", id="c")
        stack.start(f"sends{spelling}", "c", id="s")
        assert receiver.result() == ["hello", "bye"]
        assert stack.run_until_complete("s").state == "resolved"
        assert receiver.published() == {"count": 2}
        assert 0 < point.hits <= kills


def test_send_that_is_refused_is_refused_in_replays(stack: MemoryStack) -> None:
    handle = stack.start(refused, "c", id="s")
    stack.start(chat, id="c")
    assert "there is no execution 'c'" in handle.result()


def test_client_gets_a_clear_error_for_each_refusal(stack: MemoryStack) -> None:
    client = stack.client()
    with pytest.raises(ReceiverNotFoundError, match="there is no execution 'c': check the id"):
        client.send("c", "chat", "hello")
    stack.start(chat, id="c")
    client.send("c", "chat", "hello", idempotency_key="k")
    client.send("c", "chat", "hello", idempotency_key="k")
    with pytest.raises(MessageConflictError, match="another value: choose another key"):
        client.send("c", "chat", "other", idempotency_key="k")
    with pytest.raises(MessageConflictError, match="choose another key"):
        client.send("c", "other", "hello", idempotency_key="k")
    with pytest.raises(ReceiverNotFoundError, match="send to its execution, 'c'"):
        client.send("c.2", "chat", "hello")
    with pytest.raises(PayloadError, match="the message 'chat' to c cannot travel"):
        client.send("c", "chat", object())
    with pytest.raises(PayloadTooLargeError, match="4194304 is the limit"):
        client.send("c", "chat", "x" * 4 * 1024 * 1024)
    for n in range(4):
        client.send("c", "unread", "x" * 700_000, idempotency_key=f"k{n}")
    with pytest.raises(InboxFullError, match="the inbox of execution 'c' is full"):
        client.send("c", "unread", "x" * 700_000)
    client.send("c", "chat", "bye")
    with pytest.raises(ReceiverEndedError, match="takes no more messages"):
        client.send("c", "chat", "hello")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda ctx: ctx.receive(7), TypeError),
        (lambda ctx: ctx.receive(""), ValueError),
        (lambda ctx: ctx.receive("x" * 201), ValueError),
        (lambda ctx: ctx.receive("x", timeout=-1), ValueError),
        (lambda ctx: ctx.receive("x", timeout="1"), TypeError),
        (lambda ctx: ctx.send(7, "x"), TypeError),
        (lambda ctx: ctx.send("a", "x", idempotency_key=""), ValueError),
        (lambda ctx: ctx.publish("", 1), ValueError),
    ],
)
def test_wrong_arguments_are_refused_at_the_call(call: Any, error: type[Exception]) -> None:
    registry = Resonate.local()

    @registry.register
    def wrong(ctx: Context) -> Workflow:
        yield call(ctx)

    with pytest.raises(error):
        MemoryStack(registry).run(wrong)


def test_result_type_that_does_not_fit_halts_the_task() -> None:
    registry = Resonate.local()

    @registry.register
    def typed(ctx: Context) -> Workflow:
        return (yield ctx.receive("n", result_type=int))

    stack = MemoryStack(registry)
    stack.start(typed, id="t")
    stack.send("t", "n", "seven")
    with pytest.raises(Stuck, match="result_type does not fit"):
        stack.run_until_complete("t")


def test_changed_code_does_not_adopt_the_record_of_a_message(stack: MemoryStack) -> None:
    stack.start(chat, id="c")
    for text in ("one", "bye"):
        stack.send("c", "chat", text)
    history = stack.history("c")
    replay(history, chat, registry=program.registry)

    def renamed(ctx: Context) -> Workflow:
        yield ctx.receive("talk")

    def ends_early(ctx: Context) -> Workflow:
        yield ctx.receive("chat")
        return ["one", "bye"]

    for changed in (renamed, ends_early):
        with pytest.raises((AssertionError, NonDeterminismError)):
            replay(history, changed, registry=program.registry)


def test_published_value_wakes_no_worker_and_is_not_repeated(stack: MemoryStack) -> None:
    handle = stack.start(chat, id="c")
    assert handle.published("count") is None
    assert handle.published() == {}
    stack.send("c", "chat", "one")
    stack.reset_counts()
    assert (handle.published("count"), handle.published()) == (1, {"count": 1})
    assert stack.invocations.total() == 0
    stack.send("c", "chat", "bye")
    assert stack.requests["task.publish"] == 1
    assert stack.published("c") == {"count": 2}


def test_messages_and_published_values_are_encrypted() -> None:
    key = AESGCMEncryptor({"k": bytes(32)})
    secret = Resonate.local(encryptor=key)
    secret.register(chat.func if hasattr(chat, "func") else chat, name="chat")
    secret.set_dependency("notes", [])
    handle = secret.begin_run("c", "chat")
    secret.send("c", "chat", "one", idempotency_key="k")
    secret.send("c", "chat", "one", idempotency_key="k")
    secret.send("c", "chat", "bye")
    assert handle.result(10) == ["one", "bye"]
    assert handle.published("count") == 2
    stored = present(secret.store.embedded)
    record = present(stored.record(message_id("c", "k")))  # type: ignore[union-attr]
    assert (record.param.headers or {})["x-encrypted"] == "true"
    secret.stop()


def test_random_programs_receive_each_message_once_and_in_order() -> None:
    """Senders, receivers and kills in random order; the seed of a failure is in its message."""
    for seed in range(60):
        draw = random.Random(seed)
        notes: list[str] = []
        stack = MemoryStack(program, dependencies={"notes": notes})
        spelling = draw.choice(["", "_async"])
        handle = stack.start(f"chat{spelling}", id="c")
        accepted: list[str] = []
        for n in range(draw.randint(1, 12)):
            for _ in range(draw.randint(0, 2)):
                kind = draw.choice(["task.receive", "task.suspend", "task.publish", "promise.record", "task.acquire"])
                stack.crash(before=kind) if draw.random() < 0.5 else stack.crash(after=kind)
            if draw.random() < 0.3:
                stack.lose_messages(1)
            if draw.random() < 0.2:
                stack.duplicate_messages(draw.random() < 0.5)
            for _ in range(draw.randint(1, 2)):  # a retry of the sender
                stack.send("c", "chat", f"m{n}", idempotency_key=f"k{n}")
            accepted.append(f"m{n}")
            if draw.random() < 0.5:
                stack.advance(seconds=draw.choice([1, 40, 400]))
        stack.send("c", "chat", "bye")
        assert handle.result() == [*accepted, "bye"], f"seed {seed}"
        assert stack.published("c") == {"count": len(accepted) + 1}, f"seed {seed}"
