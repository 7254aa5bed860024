"""Random workflow programs: data that hypothesis makes up, and one workflow that interprets it, in both spellings.

A program is a list of operations, which is the argument of `interpret`: steps, calls, waits, messages, cancellations,
errors, `finally` blocks and more. What it returns does not depend on how long anything takes. So it must be the same
wherever the program runs, and whatever faults happen.

Each run of a step leaves its number in the result, `{id} done#{number}`. So a workflow that has seen another result
than the recorded one shows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import strategies as st

from resonate import Context
from resonate.errors import ResonateError, StepInterrupted
from resonate.errors.canceled import Canceled
from resonate.retry_policies import Constant, Never, RetryPolicy
from tests.support.program_calls import (
    CALLED,
    Flow,
    act,
    acts,
    acts_async,
    acts_inside,
    awaited,
    step,
    step_async,
    step_once,
    step_once_async,
    undo,
    unrecorded_step,
    wait_in_vain,
)
from tests.support.program_records import OVERDUE, UNSURE

Op = dict[str, Any]
Program = list[Op]

DAY = 86_400.0
SOON = 30.0
"""A time that is up before anybody does what would be needed (s)."""


# What a program may consist of

_STEP = st.fixed_dictionaries(
    {"do": st.just("step")},
    optional={
        "begin": st.just(True),
        "fails": st.sampled_from([1, 2, 99]),
        "pause": st.sampled_from([0.5, 10]),
        "own_id": st.sampled_from(["of the attempt", "of the workflow"]),
        "timeout": st.just(True),
        "attempt_timeout": st.just(True),
        "durable": st.just(False),
        "async": st.just(True),
    },
)
_LEAF = st.one_of(
    _STEP,
    _STEP,
    st.fixed_dictionaries({"do": st.just("sleep"), "seconds": st.sampled_from([0, 0.5, 5, 1000])}),
    st.fixed_dictionaries(
        {"do": st.just("promise"), "settle": st.sampled_from(["resolved", "rejected", "rejected_canceled"])},
        optional={"own_id": st.sampled_from(["of the attempt", "of the workflow"])},
    ),
    st.fixed_dictionaries(
        {"do": st.just("remote step"), "fails": st.integers(0, 2)},
        optional={"begin": st.just(True), "async": st.just(True)},
    ),
    st.fixed_dictionaries(
        {"do": st.just("shared"), "how": st.sampled_from(["run", "rpc", "promise"]), "number": st.integers(0, 1)},
        optional={"begin": st.just(True)},
    ),
    st.fixed_dictionaries(
        {"do": st.just("overdue"), "how": st.sampled_from(["run", "rpc", "promise"])}, optional={"begin": st.just(True)}
    ),
    st.fixed_dictionaries({"do": st.just("await"), "which": st.integers(0, 3)}),
    st.fixed_dictionaries({"do": st.just("await all"), "backwards": st.booleans()}),
    st.fixed_dictionaries({"do": st.just("patched"), "name": st.sampled_from(["a", "b"])}),
    st.fixed_dictionaries({"do": st.just("raise")}),
    st.fixed_dictionaries(
        {
            "do": st.just("gather"),
            "how": st.sampled_from(["all", "all_settled", "any", "race"]),
            "members": st.lists(
                st.sampled_from(["step", "failing step", "remote step", "sleep"]), min_size=1, max_size=3
            ),
        },
        optional={
            "named": st.just(True),
            "never": st.sampled_from(["promise", "call", "branch", "branch of branches", "receive"]),
        },
    ),
    st.fixed_dictionaries(
        {
            "do": st.just("map"),
            "items": st.lists(st.integers(0, 2), max_size=5),
            "limit": st.integers(1, 3),
            "remote": st.booleans(),
        },
        optional={"stops": st.just(True)},
    ),
    st.fixed_dictionaries(
        {"do": st.just("wait"), "which": st.integers(0, 3), "seconds": st.sampled_from([0, 5, 1000])}
    ),
    st.fixed_dictionaries(
        {"do": st.just("mail"), "box": st.sampled_from(["a", "b"])}, optional={"keyed": st.just(True)}
    ),
    st.fixed_dictionaries(
        {"do": st.just("receive"), "box": st.sampled_from(["a", "b"]), "seconds": st.sampled_from([0, 5])}
    ),
    st.fixed_dictionaries({"do": st.just("publish"), "key": st.sampled_from(["a", "b"])}),
    st.fixed_dictionaries({"do": st.just("letter"), "first": st.sampled_from(["message", "promise"])}),
    st.fixed_dictionaries(
        {"do": st.just("talk"), "words": st.integers(1, 3), "in_turn": st.booleans()}, optional={"async": st.just(True)}
    ),
    st.fixed_dictionaries(
        {"do": st.just("once")},
        optional={"fails": st.just(1), "retried": st.just(True), "async": st.just(True), "begin": st.just(True)},
    ),
    st.fixed_dictionaries(
        {"do": st.just("cancel"), "what": st.sampled_from(["call", "early call", "branch", "promise", "sleep"])},
        optional={"awaited": st.just(True), "async": st.just(True)},
    ),
)


def _calls(ops: st.SearchStrategy[Op]) -> st.SearchStrategy[Op]:
    several = st.lists(ops, max_size=4)
    return st.one_of(
        st.fixed_dictionaries(
            {"do": st.sampled_from(["nested", "nested", "remote"]), "ops": several},
            optional={
                "begin": st.just(True),
                "own_id": st.sampled_from(["of the attempt", "of the workflow"]),
                "retried": st.just(True),
                "caught": st.just(True),
                "async": st.booleans(),
            },
        ),
        st.fixed_dictionaries({"do": st.just("detached"), "ops": several}, optional={"async": st.booleans()}),
        st.fixed_dictionaries({"do": st.just("finally"), "ops": several, "after": several}),
        st.fixed_dictionaries(
            {"do": st.just("compensated"), "how": st.sampled_from(["saga", "by hand", "except"]), "ops": several}
        ),
        st.fixed_dictionaries(
            {"do": st.just("generations"), "ops": several, "more": st.integers(1, 3)},
            optional={"begin": st.just(True), "async": st.booleans()},
        ),
    )


PROGRAMS: st.SearchStrategy[Program] = st.lists(st.recursive(_LEAF, _calls, max_leaves=6), min_size=1, max_size=4)


def spelled(program: Program, *, asynchronous: bool) -> Program:
    """The program with all its workflows written in one way."""
    return [
        {
            **op,
            **{name: spelled(op[name], asynchronous=asynchronous) for name in ("ops", "after") if name in op},
            **({"async": asynchronous} if op["do"] in ("nested", "remote", "detached", "generations") else {}),
        }
        for op in program
    ]


# The workflow


class _Progress:
    """What a workflow has got so far, and the promises of what it has started.

    Attributes:
        home: the execution, which has the inbox.
        waiting: how many messages wait in each box.
    """

    def __init__(self, home: str, waiting: dict[str, int] | None = None) -> None:
        self.got: list[Any] = []
        self.started: list[Any] = []
        self.number = 0
        self.home = home
        self.waiting = Counter(waiting)


def interpret(ctx: Context, ops: Program, home: str | None = None) -> Flow:
    """The generator spelling."""
    return (yield from _interpreted(ctx, ops, _Progress(home or ctx.id)))


async def interpret_async(ctx: Context, ops: Program, home: str | None = None) -> Any:
    """The async spelling."""
    return await awaited(_interpreted(ctx, ops, _Progress(home or ctx.id)))


def generations(ctx: Context, ops: Program, more: int, got: list[Any], waiting: dict[str, int]) -> Flow:
    """Carry out a program in this generation, and in `more`."""
    progress = _Progress(ctx.id, waiting)
    got = [*got, *(yield from _interpreted(ctx, ops, progress))]
    return ctx.continue_as(ops, more - 1, got, dict(progress.waiting)) if more else got


async def generations_async(ctx: Context, ops: Program, more: int, got: list[Any], waiting: dict[str, int]) -> Any:
    """The async spelling."""
    return await awaited(generations(ctx, ops, more, got, waiting))


FUNCTIONS: list[Callable[..., Any]] = [interpret, interpret_async, generations, generations_async, *CALLED]
"""What a worker has to register."""


def _interpreted(ctx: Context, ops: Program, progress: _Progress) -> Flow:
    # Until it awaits its first command an async function is a step, and has the retry policy of one.
    yield ctx.run(step, 0)
    yield from _block(ctx, ops, progress)
    return progress.got


def _block(ctx: Context, ops: Program, progress: _Progress, *, last: bool = False) -> Flow:
    """Carry out operations; `last` is whether a `finally` block does.

    Such a block has no `finally` block in it: Python closes a generator that another one delegates to only once.
    """
    for op in ops:
        progress.number += 1
        if op["do"] == "finally":
            if last:
                yield from _block(ctx, op["ops"], progress, last=True)
                continue
            try:
                yield from _block(ctx, op["ops"], progress)
            finally:
                yield from _block(ctx, op["after"], progress, last=True)
            continue
        try:
            if op["do"] == "compensated":
                yield from _compensated(ctx, op, progress, last=last)
            else:
                yield from _operation(ctx, op, progress)
        except (ValueError, ResonateError) as error:
            progress.got.append(f"caught {type(error).__name__}: {error}")
        except LookupError as error:
            if "caught" not in op:
                raise
            progress.got.append(f"caught {type(error).__name__}: {error}")


def _compensated(ctx: Context, op: Op, progress: _Progress, *, last: bool) -> Flow:
    key = f"{_here(ctx)}{progress.number}"
    if op["how"] == "except":
        key = f"{UNSURE}-{key}"  # a failure after it leaves it as it is
        try:
            progress.got.append((yield ctx.run(act, key)))
            yield from _block(ctx, op["ops"], progress, last=last)
        except (Exception, Canceled):
            progress.got.append((yield ctx.run(undo, key)))
            raise
        return
    saga = ctx.saga()
    progress.got.append((yield saga.run(act, key, undo=(undo, key))))
    yield from _block(ctx, op["ops"], progress, last=last)
    if op["how"] == "by hand":
        yield saga.compensate()


def _operation(ctx: Context, op: Op, progress: _Progress) -> Flow:
    match op["do"]:
        case "raise":
            raise KeyError(f"{ctx.id} gave up in attempt {ctx.info.attempt}")
        case "await":
            if progress.started:
                progress.got.append((yield progress.started[op["which"] % len(progress.started)]))
        case "gather":
            progress.got.append((yield from _gathered(ctx, op, progress)))
        case "map":
            policy = Constant(10, max_retries=1) if not op["remote"] else None
            tolerated = 0 if "stops" in op else None
            items = ctx.map(
                step, op["items"], max_concurrency=op["limit"], tolerated_failures=tolerated, remote=op["remote"]
            )
            result = yield items if policy is None else items.options(retry_policy=policy)
            # How many were begun before the first failure was known depends on how long each has taken.
            progress.got.append("stopped" if "stops" in op and result.failures else result.values)
        case "wait":
            if progress.started:
                promise = progress.started[op["which"] % len(progress.started)]
                with suppress(TimeoutError, ValueError, LookupError, ResonateError):
                    yield ctx.wait(promise, timeout=op["seconds"])
                progress.got.append("waited")
        case "await all":
            for promise in reversed(progress.started) if op["backwards"] else list(progress.started):
                progress.got.append((yield promise))
        case "mail" | "receive" | "publish" | "letter" | "talk":
            yield from _conversation(ctx, op, progress)
        case "once":
            yield from _done_once(ctx, op, progress)
        case "cancel":
            yield from _cancelled(ctx, op, progress)
        case _:
            answer = yield _command(ctx, op, _own_id(ctx, op, progress), progress.home)
            if "begin" in op or op["do"] in ("promise", "detached") or op.get("how") == "promise":
                progress.started.append(answer)
                progress.got.append(answer.id)
            else:
                progress.got.append(answer)


def _here(ctx: Context) -> str:
    """Return the beginning of names that only this attempt of the workflow uses."""
    return f"{ctx.id}/{ctx.info.attempt}/"


def _conversation(ctx: Context, op: Op, progress: _Progress) -> Flow:
    """Send and receive messages. Only this workflow uses the names, so their order does not depend on time."""
    name = f"{_here(ctx)}{op.get('box', progress.number)}"
    match op["do"]:
        case "mail":
            key = f"{name}/{ctx.info.generation}/{progress.number}" if "keyed" in op else None
            for _ in range(2 if key else 1):
                yield ctx.send(progress.home, name, progress.number, idempotency_key=key)
            progress.waiting[name] += 1
        case "receive":
            there = progress.waiting[name] > 0
            try:
                progress.got.append((yield ctx.receive(name, timeout=100 * DAY if there else op["seconds"])))
                progress.waiting[name] -= 1
            except TimeoutError:
                progress.got.append(f"no message {name}")
        case "publish":
            yield ctx.publish(f"{ctx.id}/{op['key']}", progress.number)
        case "letter":
            promise = yield ctx.promise(data={"settle": "resolved", "send": {"to": progress.home, "name": name}})
            if op["first"] == "promise":
                progress.got.append((yield promise))
            progress.got.append((yield ctx.receive(name)))
        case _:
            talks = "talks_async" if "async" in op else "talks"
            child = yield ctx.begin_rpc(talks, progress.home, name, op["words"])
            for number in range(op["words"]):
                yield ctx.send(child.id, "ask", f"{name} {number}")
                if op["in_turn"]:
                    progress.got.append((yield ctx.receive(name)))
            for _ in range(0 if op["in_turn"] else op["words"]):
                progress.got.append((yield ctx.receive(name)))
            progress.got.append((yield child))


def _done_once(ctx: Context, op: Op, progress: _Progress) -> Flow:
    """Run a step at most once. Whether it was interrupted depends on faults."""
    function = step_once_async if "async" in op else step_once
    policy = Constant(10, max_retries=2) if "retried" in op else None
    call = ctx.begin_run if "begin" in op else ctx.run
    with suppress(StepInterrupted, ValueError):
        answer = yield call(function, op.get("fails", 0)).options(
            at_most_once=True, retry_policy=policy, tags={UNSURE: "true"}
        )
        if "begin" in op:
            yield answer
    progress.got.append("at most once")


def _cancelled(ctx: Context, op: Op, progress: _Progress) -> Flow:
    """Begin what does not end by itself, and cancel it. A call says by a message that it has acted before that."""
    what, name = op["what"], f"{_here(ctx)}{progress.number}"
    name = "" if what == "early call" else name
    function = acts_async if "async" in op else acts
    match what:
        case "promise":
            promise = yield ctx.promise(data={})
        case "sleep":
            promise = yield ctx.begin_sleep(50 * DAY)
        case "branch":
            promise = yield ctx.begin_run(function, progress.home, name).options(tags={OVERDUE: "true"})
        case _:
            promise = yield ctx.begin_rpc(function, progress.home, name).options(tags={OVERDUE: "true"})
    if what in ("call", "branch"):
        yield ctx.receive(name)
    yield ctx.cancel(promise)
    if "awaited" in op:
        try:
            yield promise
        except ResonateError as error:
            progress.got.append(type(error).__name__)


def _gathered(ctx: Context, op: Op, progress: _Progress) -> Flow:
    """Wait for several at once; return what does not depend on which of them was first."""
    begin: dict[str, Callable[[], Any]] = {
        "step": lambda: ctx.run(step, 0),
        "failing step": lambda: ctx.run(step, 99).options(retry_policy=Never()),
        "remote step": lambda: ctx.rpc("step", 1),
        "sleep": lambda: ctx.sleep(5),
    }
    begun = [(kind, begin[kind]()) for kind in op["members"]]
    members = [member for _, member in begun]
    never = "never" in op and op["how"] in ("any", "race") and set(op["members"]) != {"failing step"}
    if never:
        in_vain: dict[str, Callable[[], Any]] = {
            "promise": lambda: ctx.promise(data={}),
            "call": lambda: ctx.rpc(acts, progress.home, "").options(tags={OVERDUE: "true"}),
            "branch": lambda: ctx.run(acts_async, progress.home, "").options(tags={OVERDUE: "true"}),
            "branch of branches": lambda: ctx.run(acts_inside, progress.home).options(tags={OVERDUE: "true"}),
            "receive": lambda: ctx.receive(f"{ctx.id}/never"),
        }
        # Whether a call has ended when it is cancelled depends on time.
        members = [member if kind == "sleep" else member.options(tags={UNSURE: "true"}) for kind, member in begun]
        members.append(in_vain[op["never"]]())
    named = {f"n{number}": member for number, member in enumerate(members)}
    wait = getattr(ctx, op["how"])
    try:
        found = yield wait(**named, cancel_losers=never) if "named" in op else wait(members, cancel_losers=never)
    except ExceptionGroup:
        return "none"
    except ValueError:
        return op["how"]
    if op["how"] == "all_settled":
        return [str(each.error or each.value) for each in (found.values() if "named" in op else found)]
    return found if op["how"] == "all" else op["how"]


def _own_id(ctx: Context, op: Op, progress: _Progress) -> str | None:
    if "own_id" not in op:
        return None
    attempt = f"-{ctx.info.attempt}" if op["own_id"] == "of the attempt" else ""
    return f"{ctx.id}-own{progress.number}{attempt}"


def _command(ctx: Context, op: Op, own_id: str | None, home: str) -> Any:
    here, there = (ctx.begin_run, ctx.begin_rpc) if "begin" in op else (ctx.run, ctx.rpc)
    match op["do"]:
        case "step":
            policy: RetryPolicy = Constant(op["pause"], max_retries=3) if "pause" in op else Never()
            function = step_async if "async" in op else step if op.get("durable", True) else unrecorded_step
            return here(function, op.get("fails", 0)).options(
                id=own_id,
                durable=op.get("durable") if function is unrecorded_step else None,
                timeout=100 * DAY if "timeout" in op else None,
                attempt_timeout=100 * DAY if "attempt_timeout" in op else None,
                retry_policy=policy,
            )
        case "nested":
            again = Constant(10, max_retries=1) if "retried" in op else Never()
            return here(_workflow(op), op["ops"], home).options(id=own_id, retry_policy=again)
        case "remote":
            return there(_workflow(op).__name__, op["ops"]).options(id=own_id)
        case "generations":
            return there("generations_async" if op.get("async") else "generations", op["ops"], op["more"], [], {})
        case "detached":
            return ctx.detached(_workflow(op).__name__, op["ops"])
        case "remote step":
            return there("step_async" if "async" in op else "step", op["fails"])
        case "patched":
            return ctx.patched(op["name"])
        case "sleep":
            return ctx.sleep(op["seconds"])
        case "promise":
            return ctx.promise(id=own_id, data={"settle": op["settle"]})
        case "shared":
            id = f"shared-{op['how']}-{op['number']}"
            if op["how"] == "promise":
                return ctx.promise(id=id, data={"settle": "resolved"})
            if op["how"] == "rpc":
                return there("step", op["number"]).options(id=id)
            again = Constant(10, max_retries=1)
            return here(step, op["number"]).options(id=id, retry_policy=again)
        case "overdue":
            if op["how"] == "promise":
                return ctx.promise(timeout=SOON, data={}, tags={OVERDUE: "true"})
            call = here(wait_in_vain) if op["how"] == "run" else there("wait_in_vain")
            return call.options(timeout=SOON, tags={OVERDUE: "true"})
        case unknown:
            raise AssertionError(unknown)


def _workflow(op: Op) -> Callable[..., Any]:
    return interpret_async if op.get("async") else interpret
