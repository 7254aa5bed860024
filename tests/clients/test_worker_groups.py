"""Workers of two groups and a client, which have only a development server in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from resonate import Canceled, Context, Resonate
from resonate.errors import ResonateCanceledError
from tests.support.driver import Flow
from tests.support.environments import PATIENCE, Surroundings
from tests.support.example_programs import task_state, until

Connect = Callable[[str], Resonate]


@pytest.fixture
def server(surroundings: Callable[..., Surroundings]) -> Surroundings:
    return surroundings()


@pytest.fixture
def connect(server: Surroundings) -> Iterator[Connect]:
    """Make connections of a group, each like that of a process of its own."""
    made: list[Resonate] = []

    def connect(group: str) -> Resonate:
        made.append(Resonate.remote(url=server.url, group=group))
        return made[-1]

    yield connect
    for resonate in made:
        resonate.stop()


def test_cancellation_compensates_call_of_other_group_before_caller(server: Surroundings, connect: Connect) -> None:
    caller, callee, client = connect("a"), connect("b"), connect("client")
    diary: list[str] = []

    def note(_: Context, text: str) -> None:
        diary.append(text)

    @callee.register
    def stay(ctx: Context) -> Flow:
        try:
            yield ctx.sleep(86_400)
        except Canceled as canceled:
            yield ctx.run(note, f"release the room: {canceled.reason}")
            yield (yield ctx.promise(id="confirmed"))
            yield ctx.run(note, "released")
            raise

    @caller.register
    def travel(ctx: Context) -> Flow:
        try:
            yield ctx.rpc("stay").options(target="b")
        except Canceled as canceled:
            yield ctx.run(note, f"refund: {canceled.reason}")
            raise

    caller.start()
    callee.start()
    handle = client.options(target="a").begin_rpc("w", "travel")
    for id in ("w", "w.1"):
        until(lambda id=id: task_state(server, id) == "suspended", f"{id} waits")

    assert [client.cancel("w", "no passport"), client.cancel("w")] == ["accepted", "already"]
    until(lambda: any(each["id"] == "confirmed" for each in promises(server)), "the callee compensates")
    until(lambda: task_state(server, "w.1") == task_state(server, "w") == "suspended", "both wait again")
    assert diary == ["release the room: no passport"]
    client.promises.resolve("confirmed")

    with pytest.raises(ResonateCanceledError):
        handle.result(PATIENCE)
    assert diary == ["release the room: no passport", "released", "refund: no passport"]
    assert {each["id"]: each["state"] for each in promises(server) if each["id"] in ("w", "w.1")} == {
        "w": "rejected_canceled",
        "w.1": "rejected_canceled",
    }


def test_messages_are_taken_in_order_by_next_worker_of_group(server: Surroundings, connect: Connect) -> None:
    client, other = connect("client"), connect("b")
    taken: list[tuple[str, str]] = []

    def note(ctx: Context, text: str) -> None:
        taken.append((ctx.get_dependency("worker"), text))

    def serve(name: str) -> Resonate:
        worker = connect("a")
        worker.set_dependency("worker", name)

        @worker.register
        def chat(ctx: Context) -> Flow:
            got: list[str] = []
            while "bye" not in got:
                got.append((yield ctx.receive("chat")))
                yield ctx.run(note, got[-1])
            return got

        worker.start()
        return worker

    @other.register
    async def visit(ctx: Context, id: str) -> None:
        for text in ("three", "bye"):
            await ctx.send(id, "chat", text)

    first = serve("a1")
    handle = client.options(target="a").begin_rpc("w", "chat")
    client.send("w", "chat", "one")
    until(lambda: taken != [] and task_state(server, "w") == "suspended", "the first message is taken")
    first.stop()
    for _ in range(2):
        client.send("w", "chat", "two", idempotency_key="second")
    other.start()
    assert client.options(target="b").rpc("visit", "visit", "w") is None
    assert taken == [("a1", "one")]
    serve("a2")

    assert handle.result(PATIENCE) == ["one", "two", "three", "bye"]
    assert taken == [("a1", "one"), *(("a2", text) for text in ("two", "three", "bye"))]


def promises(server: Surroundings) -> list[dict[str, Any]]:
    return server.ask("promise.search", {"limit": 100})["promises"]
