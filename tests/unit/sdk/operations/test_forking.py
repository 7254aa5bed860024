"""Forks and redrives: what a new execution takes over from another one, and what runs again."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.encryption import AESGCMEncryptor, EncryptedStore
from resonate.errors import ForkError, ResonateStoreError, StepInterrupted
from resonate.errors.canceled import Canceled
from resonate.operations.forking import Forked, fork, redrive
from resonate.payloads import codec
from resonate.retry_policies import Never
from resonate.testing import MemoryStack, replay
from resonate.worker.resources import Resources
from resonate_store.interface import Store, StoreWrapper
from resonate_store.model.requests import PromiseCreate, PromiseGet, Request, Response, TaskContinue
from resonate_store.model.tags import FORKED_FROM, KEY_STEM, TARGET
from tests.support.driver import Driver

Workflow = Generator[Any, Any, Any]

program = Resonate.local()


class World:
    """What lies outside of the executions: it fails as it is told, and sees each run of a step with its key."""

    def __init__(self) -> None:
        self.fails: set[str] = set()
        self.runs: list[str] = []
        self.keys: dict[str, str] = {}
        """The effects by idempotency key, as a payment provider keeps them."""

    def do(self, ctx: Context, what: str) -> str:
        self.runs.append(what)
        if what in self.fails:
            raise ValueError(f"{what} is out of order")
        self.keys[str(ctx.info.idempotency_key)] = what
        return f"{what} done"


def act(ctx: Context, what: str) -> str:
    return ctx.get_dependency("world").do(ctx, what)


def _acts(ctx: Context, what: str) -> Any:
    return ctx.run(act, what).options(retry_policy=Never())


@program.register
def order(ctx: Context, customer: str) -> Workflow:
    """Pay, wait, ask another execution, and ship."""
    got = [(yield _acts(ctx, "pay"))]
    yield ctx.sleep(3600)
    got.append((yield ctx.rpc("called", "check")))
    got.append((yield _acts(ctx, "ship")))
    return [customer, *got]


@program.register
def called(ctx: Context, what: str) -> Workflow:
    return (yield _acts(ctx, what))


@program.register
def nested(ctx: Context) -> Workflow:
    first = yield _acts(ctx, "first")
    try:
        inner = yield ctx.run(inside).options(retry_policy=Never())
    except ValueError as error:
        inner = str(error)
    return [first, inner, (yield _acts(ctx, "last"))]


def inside(ctx: Context) -> Workflow:
    return [(yield _acts(ctx, "a")), (yield _acts(ctx, "b")), (yield _acts(ctx, "c"))]


@program.register
def trip(ctx: Context) -> Workflow:
    """Book a flight and a hotel, which are undone if the insurance fails."""
    pay = yield _acts(ctx, "fee")
    saga = ctx.saga()
    flight = yield saga.run(act, "flight", undo=(act, "no flight")).options(retry_policy=Never())
    hotel = yield saga.rpc("called", "hotel", undo=ctx.rpc("called", "no hotel"))
    return [pay, flight, hotel, (yield _acts(ctx, "insurance")), (yield _acts(ctx, "mail"))]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def stack(world: World) -> MemoryStack:
    return MemoryStack(program, dependencies={"world": world})


def _fork(stack: MemoryStack, id: str, **options: Any) -> Forked:
    return fork(stack.store, id, clock=stack.clock, **options)


def _redrive(stack: MemoryStack, id: str, **options: Any) -> Forked:
    return redrive(stack.store, id, clock=stack.clock, **options)


def _outcome(stack: MemoryStack, id: str) -> Any:
    stack.run_until_complete(id, days=1)
    return stack.result(id)


def _failed(stack: MemoryStack, workflow: str, *args: Any) -> str:
    """Run a workflow that fails, and return its id."""
    stack.start(workflow, *args, id="one")
    assert stack.run_until_complete("one", days=1).state == "rejected"
    return "one"


def test_redrive_begins_at_the_failed_command(stack: MemoryStack, world: World) -> None:
    world.fails = {"ship"}
    id = _failed(stack, "order", "ada")
    world.fails.clear()
    before = stack.history(id)
    forked = _redrive(stack, id)
    assert forked == Forked("one@1", "one", "4", "created", 3)
    assert _outcome(stack, "one@1") == ["ada", "pay done", "check done", "ship done"]
    assert world.runs == ["pay", "check", "ship", "ship"]
    history = stack.history("one@1")
    assert history.commands == ["run act", "a sleep", "rpc called", "run act"]
    assert (history.root.tags[FORKED_FROM], history.root.tags[KEY_STEM]) == ("one", "one")
    assert history["one@1.1"].created_at == before["one.1"].created_at
    assert stack.history(id) == before
    replay(history, order, registry=program.registry)


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5])
def test_fork_copies_only_what_is_before_its_command(stack: MemoryStack, world: World, at: int) -> None:
    stack.start("order", "ada", id="one")
    expected = _outcome(stack, "one")
    world.runs.clear()
    forked = _fork(stack, "one", from_command=at, new_id="two")
    assert forked.copied == at - 1
    assert _outcome(stack, "two") == expected
    assert world.runs == [what for number, what in ((1, "pay"), (3, "check"), (4, "ship")) if number >= at]
    assert set(world.keys) == {"one.1", "one.3.1", "one.4"}, "the keys of the original"


def test_fork_with_arguments_calls_with_them(stack: MemoryStack) -> None:
    stack.start("order", "ada", id="one")
    stack.run_until_complete("one")
    _fork(stack, "one", args=["bob"])
    assert _outcome(stack, "one@1")[0] == "bob"


def test_fork_of_a_nested_place_keeps_what_is_before_it(stack: MemoryStack, world: World) -> None:
    world.fails = {"c"}
    stack.start("nested", id="one")
    assert stack.result("one") == ["first done", "c is out of order", "last done"]
    world.fails.clear()
    world.runs.clear()
    _fork(stack, "one", from_command="2.3", new_id="two")
    assert _outcome(stack, "two") == ["first done", ["a done", "b done", "c done"], "last done"]
    assert world.runs == ["c", "last"]
    for place, problem in (("1.1", "not a nested workflow"), ("7", "has 3 commands"), ("2.x", "not the number")):
        with pytest.raises(ForkError, match=problem):
            _fork(stack, "one", from_command=place)


def test_redrive_of_a_failed_saga_completes_it(stack: MemoryStack, world: World) -> None:
    world.fails = {"insurance"}
    id = _failed(stack, "trip")
    assert world.runs == ["fee", "flight", "hotel", "insurance", "no hotel", "no flight"]
    with pytest.raises(ForkError, match=r"command 3 of 'one' was undone by command 5.*fork from 2 or"):
        _fork(stack, id, from_command=4)
    assert _redrive(stack, id).at == "2", "what was undone runs again"
    assert stack.run_until_complete("one@1", days=1).state == "rejected"
    world.fails.clear()
    assert _redrive(stack, "one@1").id == "one@2"
    assert _outcome(stack, "one@2") == [f"{what} done" for what in ("fee", "flight", "hotel", "insurance", "mail")]
    assert world.runs.count("fee") == 1
    charged = {what: key for key, what in world.keys.items()}
    assert charged["insurance"] == "one.4", "it had no effect that was undone"
    assert (charged["flight"], charged["hotel"]) == ("one@2.2", "one@2.3.1"), "the ones before were refunded"
    assert charged["mail"] == "one@2.5", "another command had this number"


@program.register
def waits(ctx: Context) -> Workflow:
    """Hand out a promise, await another one by its own id, and a call with an id of its own; then fail."""
    handed = yield ctx.promise()
    mine = yield ctx.promise(id="approval")
    theirs = yield ctx.promise(id="elsewhere")
    report = yield ctx.run(act, "report").options(id="report-7", retry_policy=Never())
    got = [report, (yield mine), (yield theirs)]
    got.append((yield _acts(ctx, "end")))
    return [*got, (yield handed)]


def test_fork_renames_what_has_an_id_of_its_own(stack: MemoryStack, world: World) -> None:
    stack.store.apply(PromiseCreate("elsewhere", stack.clock.now() + 10**8))
    world.fails = {"end"}
    stack.start("waits", id="one")
    stack.advance(seconds=1)
    stack.resolve("approval", "yes")
    stack.resolve("elsewhere", "theirs")
    stack.resolve("one.1", "old")
    assert stack.run_until_complete("one", days=1).state == "rejected"
    world.fails.clear()
    forked = _fork(stack, "one", from_command=1, new_id="two")
    stack.advance(seconds=1)
    assert not forked.warnings, "no promise is pending"
    assert stack.history("two").find("two.1").pending  # type: ignore[union-attr]
    stack.resolve("two.1", "new")
    stack.resolve("approval@two", "again")
    assert _outcome(stack, "two") == ["report done", "again", "theirs", "end done", "new"]
    assert world.keys["report-7"] == "report", "its key stays"
    assert world.runs.count("report") == 2
    _fork(stack, "one", from_command=5, new_id="three")
    assert _outcome(stack, "three") == ["report done", "yes", "theirs", "end done", "old"]
    assert world.runs.count("report") == 2
    replay(stack.history("three"), waits, registry=program.registry)


def test_fork_warns_of_a_promise_that_was_handed_out(stack: MemoryStack) -> None:
    stack.start("waits", id="one")
    stack.advance(seconds=1)
    (warning,) = _fork(stack, "one", from_command=2, new_id="two").warnings
    assert warning == "'one.1' is a promise that is pending: the fork waits for another one, 'two.1'"


@program.register
def talks(ctx: Context, rounds: int) -> Workflow:
    """Take messages and publish in several generations."""
    got = [(yield ctx.receive("chat")), (yield ctx.run(answers))]
    yield ctx.publish("progress", got)
    late = False
    try:
        yield ctx.receive("chat", timeout=60)
    except TimeoutError:
        late = True
    yield ctx.send("friend", "note", got)
    got.append(late)
    return ctx.continue_as(rounds - 1) if rounds else [ctx.info.generation, got, (yield ctx.receive("end"))]


def answers(ctx: Context) -> Workflow:
    return (yield ctx.receive("chat"))


@program.register
def friend(ctx: Context) -> Workflow:
    yield ctx.receive("never")


def test_fork_takes_over_messages_state_and_generation(stack: MemoryStack) -> None:
    stack.start("friend", id="friend")
    handle = stack.start("talks", 1, id="one")
    for texts in ("ab", "cd"):
        for text in texts:
            stack.send("one", "chat", text)
        stack.advance(minutes=5)
    stack.send("one", "end", "bye")
    assert handle.result() == [2, ["c", "d", True], "bye"]
    for at in (1, 2, 3, 4, 5, 6):
        id = f"fork-{at}"
        _fork(stack, "one", from_command=at, new_id=id)
        stack.advance(minutes=5)
        assert _outcome(stack, id) == [2, ["c", "d", True], "bye"]
        assert stack.client().get(id).published("progress") == ["c", "d"]
        replay(stack.history(id), talks, registry=program.registry)
    notes = [record for record in stack.history("friend") if record.command == "message note"]
    assert len(notes) == 2, "one of each generation: a fork sends none again"
    assert _fork(stack, "fork-4", from_command=1, new_id="again").copied == 1, "the arguments of the generation"
    stack.advance(minutes=5)
    assert _outcome(stack, "again") == [2, ["c", "d", True], "bye"]


@program.register
def careful(ctx: Context) -> Workflow:
    """Run a step at most once beside another one."""
    slow = yield ctx.begin_run(act, "slow").options(at_most_once=True)
    patched = yield ctx.patched("p")
    first = yield _acts(ctx, "first")
    try:
        return [patched, first, (yield slow)]
    except StepInterrupted:
        return [patched, first, "interrupted"]


def test_fork_does_not_run_again_what_runs_at_most_once(stack: MemoryStack, world: World) -> None:
    stack.start("careful", id="one")
    stack.run_until_complete("one", days=1)
    world.runs.clear()
    _fork(stack, "one", from_command=2, new_id="two")
    assert _outcome(stack, "two") == [True, "first done", "slow done"]
    assert world.runs == ["first"]
    assert "two.patch~p" in stack.history("two")


def test_fork_does_not_repeat_an_attempt_of_at_most_once(stack: MemoryStack) -> None:
    stack.crash(before=act, id="one.1")
    stack.start("careful", id="one")
    stack.pump()
    assert stack.store.apply(PromiseGet("one.1~m1")).promise is not None
    _fork(stack, "one", from_command=2, new_id="two")
    stack.client().cancel("one", force=True)
    assert _outcome(stack, "two") == [True, "first done", "interrupted"]


@program.register
def races(ctx: Context) -> Workflow:
    slow = yield ctx.begin_rpc("later", "slow")
    fast = yield ctx.begin_run(act, "fast")
    yield ctx.sleep(1)
    winner = yield ctx.race(slow=slow, fast=fast, cancel_losers=True)
    return [winner.name, (yield _acts(ctx, "end"))]


def test_fork_does_not_copy_what_a_later_command_has_cancelled(stack: MemoryStack, world: World) -> None:
    stack.start("races", id="one")
    assert _outcome(stack, "one") == ["fast", "end done"]
    assert stack.history("one")["one.1"].state == "rejected_canceled"
    _fork(stack, "one", from_command=4, new_id="two")
    stack.advance(seconds=1)
    assert _outcome(stack, "two") == ["fast", "end done"]
    assert world.runs == ["fast", "end", "end"]


@program.register
def cancelled(ctx: Context) -> Workflow:
    first = yield _acts(ctx, "first")
    try:
        yield ctx.sleep(3600)
    except Canceled:
        yield _acts(ctx, "undo")
        raise
    return [first, (yield _acts(ctx, "last"))]


def test_redrive_of_a_cancelled_execution_begins_where_it_was_interrupted(stack: MemoryStack, world: World) -> None:
    stack.start("cancelled", id="one")
    stack.advance(seconds=1)
    stack.client().cancel("one", "no")
    assert stack.run_until_complete("one", days=1).state == "rejected_canceled"
    with pytest.raises(ForkError, match="while it waited for command 2"):
        _fork(stack, "one", from_command=3)
    assert _redrive(stack, "one").at == "2"
    assert _outcome(stack, "one@1") == ["first done", "last done"]
    assert world.runs == ["first", "undo", "last"]


def test_redrive_of_a_timed_out_execution_continues_it(stack: MemoryStack, world: World) -> None:
    stack.options(timeout=600).start("order", "ada", id="one")
    assert stack.run_until_complete("one", days=1).state == "rejected_timedout"
    assert _redrive(stack, "one").at == "2"
    assert stack.run_until_complete("one@1", days=1).state == "rejected_timedout", "it has as much time"
    assert world.runs == ["pay"]


def test_redrive_refuses_what_it_cannot_know(stack: MemoryStack, world: World) -> None:
    def refused(id: str, problem: str) -> None:
        with pytest.raises(ForkError, match=problem):
            _redrive(stack, id)

    stack.start("order", "ada", id="one")
    refused("one", "is pending")
    world.fails = {"ship"}
    stack.run_until_complete("one", days=1)
    _redrive(stack, "one")
    refused("one", "redriven as 'one@1', which is pending")
    assert _redrive(stack, "one", once=True) == Forked("one@1", "one", "4", "exists")
    stack.run_until_complete("one@1", days=1)
    refused("one", "redrive 'one@1'")
    world.fails.clear()
    assert _redrive(stack, "one@1") == Forked("one@2", "one@1", "4", "created", 3)
    stack.run_until_complete("one@2", days=1)
    refused("one", "which has resolved")
    refused("one@2", "has resolved")
    with pytest.raises(ResonateStoreError, match="not found"):
        _redrive(stack, "none")

    world.fails = {"ship"}
    stack.start("hides", id="hidden")
    stack.run_until_complete("hidden", days=1)
    refused("hidden", r"failed are 1 \(rejected\)")
    assert _redrive(stack, "hidden", from_command=1).at == "1"
    stack.store.apply(PromiseCreate("bare", stack.clock.now() + 1000))
    with pytest.raises(ForkError, match="without a task"):
        _fork(stack, "bare")


@program.register
def hides(ctx: Context) -> Workflow:
    try:
        yield _acts(ctx, "ship")
    except ValueError as error:
        raise KeyError("hidden") from error


@program.register
def later(ctx: Context, what: str) -> Workflow:
    yield ctx.sleep(60)
    return (yield _acts(ctx, what))


@program.register
def together(ctx: Context) -> Workflow:
    """Fail in two commands that ran at the same time."""
    first = yield ctx.begin_rpc("later", "both")
    second = yield ctx.begin_rpc("later", "both")
    return [(yield first), (yield second)]


def test_redrive_issues_all_commands_anew_that_failed_together(stack: MemoryStack, world: World) -> None:
    world.fails = {"both"}
    id = _failed(stack, "together")
    world.fails.clear()
    assert _redrive(stack, id).at == "1"
    assert _outcome(stack, "one@1") == ["both done", "both done"]


class Dying(StoreWrapper):
    """A store whose process dies before or after one of its requests."""

    def __init__(self, store: Store, last: int, *, carried_out: bool) -> None:
        super().__init__(store)
        self.left = last
        self.carried_out = carried_out

    def apply(self, request: Request) -> Response:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        if self.left == 0 and not self.carried_out:
            raise KeyboardInterrupt
        response = self._store.apply(request)
        if self.left == 0:
            raise KeyboardInterrupt
        return response


@pytest.mark.parametrize("carried_out", [False, True])
@pytest.mark.parametrize("do", [_redrive, _fork])
def test_fork_killed_at_each_request_is_completed_by_repetition(
    stack: MemoryStack, world: World, do: Callable[..., Forked], carried_out: bool
) -> None:
    world.fails = {"ship"}
    id = _failed(stack, "order", "ada")
    world.fails.clear()
    options: dict[str, Any] = {"from_command": 4} if do is _fork else {"once": True}
    call = fork if do is _fork else redrive
    for last in range(1, 100):
        dying = Dying(stack.store, last, carried_out=carried_out)
        try:
            call(dying, id, clock=stack.clock, **options)
        except KeyboardInterrupt:
            task = stack.store.apply(PromiseGet("one@1")).task
            if task is not None and task.state == "halted":
                assert stack.store.apply(TaskContinue("one@1")).status == 409, "it is not complete"
            continue
        break
    assert last > 8
    assert do(stack, id, **options).id == "one@1"
    assert _outcome(stack, "one@1") == ["ada", "pay done", "check done", "ship done"]
    assert world.runs == ["pay", "check", "ship", "ship"]
    assert stack.store.apply(PromiseGet("one@2")).status == 404


def sealed_outcome(driver: Driver, id: str) -> None:
    """Run an execution to its end, whose outcome the driver cannot read."""
    while driver.promise(id).pending:
        driver.work()
        driver.pass_time(600)


def test_fork_of_encrypted_values_needs_their_key(world: World) -> None:
    driver = Driver()
    sealed = EncryptedStore(driver.tap, AESGCMEncryptor({"k": bytes(32)}))
    driver.use(Resources(sealed, driver.clock))
    driver.dependencies["world"] = world
    for function in (order, called):
        driver.registry.add(function.func)
    sealed_call = codec.encode_call("order", ("ada",), {}, 1)
    sealed.apply(PromiseCreate("one", driver.after(10**6), sealed_call, {TARGET: "poll://any@default"}))
    sealed_outcome(driver, "one")
    with pytest.raises(ForkError, match="encrypted and bound to their ids"):
        fork(driver.tap, "one", from_command=4, clock=driver.clock)
    fork(sealed, "one", from_command=4, clock=driver.clock)
    sealed_outcome(driver, "one@1")
    outcome = sealed.apply(PromiseGet("one@1")).promise
    assert outcome is not None
    assert codec.outcome_of(outcome) == ["ada", "pay done", "check done", "ship done"]
    assert world.runs == ["pay", "check", "ship", "ship"]
