"""Random workflow programs: data that hypothesis makes up, and one workflow that interprets it, in both spellings.

A program is a list of operations - steps, nested workflows, remote and detached calls, sleeps, promises, awaits in any
order, errors, `finally` blocks - that travels as the argument of `interpret`. What it returns does not depend on how
long anything takes, so it must be the same wherever the program runs and whatever goes wrong on the way.

Each run of a step leaves its number in the result, `{id} done#{number}`: whoever has seen a result that is not the one
recorded, or another one than somebody else, gives himself away.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from typing import Any

from hypothesis import strategies as st

from resonate import Context
from resonate.errors import ResonateError
from resonate.payloads import codec
from resonate.retry_policies import Constant, Never, RetryPolicy
from resonate_store.model.records import Record, SettledState, Value
from resonate_store.model.tags import DELAY, FUNC, KIND, LINK, SCOPE, TARGET, TIMER

Op = dict[str, Any]
Program = list[Op]
Flow = Generator[Any, Any, Any]

DAY = 86_400.0
SOON = 30.0
"""A time that is up before anybody does what would be needed (s)."""
OVERDUE = "overdue"
"""Tag of a call that runs out of time: what happens below it depends on when."""


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
        optional={"named": st.just(True), "never": st.just(True)},
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
    )


PROGRAMS: st.SearchStrategy[Program] = st.lists(st.recursive(_LEAF, _calls, max_leaves=6), min_size=1, max_size=4)


def spelled(program: Program, *, asynchronous: bool) -> Program:
    """The program with all its workflows written in one way."""
    return [
        {
            **op,
            **{name: spelled(op[name], asynchronous=asynchronous) for name in ("ops", "after") if name in op},
            **({"async": asynchronous} if op["do"] in ("nested", "remote", "detached") else {}),
        }
        for op in program
    ]


# What steps do


class Witness:
    """Sees the steps of the programs run; it is outside of all workers, and survives their ends.

    Attributes:
        runs: how often each step has run, by the id of its promise.
        repeated: the ids of steps that ran although their outcome was recorded.
        is_recorded: tells whether the promise with this id has been settled.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew; nobody is asked what is recorded."""
        self.runs: Counter[str] = Counter()
        self.repeated: list[str] = []
        self.is_recorded: Callable[[str], bool] = lambda _: False

    def of(self, id: str) -> str:
        """What tells this run of a step from its others."""
        if self.is_recorded(id):
            self.repeated.append(id)
        self.runs[id] += 1
        return f"#{self.runs[id]}"


witness = Witness()


def step(ctx: Context, fails: int) -> str:
    run = witness.of(ctx.id)
    if ctx.info.attempt <= fails:
        raise ValueError(f"{ctx.id} failed{run}")
    return f"{ctx.id} done{run}"


async def step_async(ctx: Context, fails: int) -> str:
    await asyncio.sleep(0)
    return step(ctx, fails)


def unrecorded_step(ctx: Context, fails: int) -> str:
    """A step that is not durable runs again on replay, and should then come out the same."""
    if ctx.info.attempt <= fails:
        raise ValueError(f"{ctx.id} failed")
    return f"{ctx.id} done"


def wait_in_vain(ctx: Context) -> Flow:
    yield (yield ctx.promise(data={}))


# The workflow


class _Progress:
    """What a workflow has got so far, and the promises of what it has started."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.started: list[Any] = []
        self.number = 0


def interpret(ctx: Context, ops: Program) -> Flow:
    """The generator spelling."""
    return (yield from _interpreted(ctx, ops))


async def interpret_async(ctx: Context, ops: Program) -> Any:
    """The async spelling: what the generator yields is awaited here."""
    flow = _interpreted(ctx, ops)
    try:
        command = next(flow)
        while True:
            try:
                answer = await command
            except BaseException as error:  # even that it is closed is the generator's to deal with
                command = flow.throw(error)
            else:
                command = flow.send(answer)
    except StopIteration as end:
        return end.value


FUNCTIONS: list[Callable[..., Any]] = [interpret, interpret_async, step, step_async, wait_in_vain]
"""What a worker has to register."""


def _interpreted(ctx: Context, ops: Program) -> Flow:
    # Until it awaits its first command an async function is a step, and has the retry policy of one.
    yield ctx.run(step, 0)
    progress = _Progress()
    yield from _block(ctx, ops, progress)
    return progress.got


def _block(ctx: Context, ops: Program, progress: _Progress) -> Flow:
    for op in ops:
        progress.number += 1
        if op["do"] == "finally":
            try:
                yield from _block(ctx, op["ops"], progress)
            finally:
                yield from _block(ctx, op["after"], progress)
            continue
        try:
            yield from _operation(ctx, op, progress)
        except (ValueError, ResonateError) as error:
            progress.got.append(f"caught {type(error).__name__}: {error}")
        except LookupError as error:
            if "caught" not in op:
                raise
            progress.got.append(f"caught {type(error).__name__}: {error}")


def _operation(ctx: Context, op: Op, progress: _Progress) -> Flow:
    match op["do"]:
        case "raise":
            raise KeyError(f"{ctx.id} gave up in attempt {ctx.info.attempt}")
        case "await":
            if progress.started:
                progress.got.append((yield progress.started[op["which"] % len(progress.started)]))
        case "gather":
            progress.got.append((yield from _gathered(ctx, op)))
        case "map":
            policy = Constant(10, max_retries=1) if not op["remote"] else None
            tolerated = 0 if "stops" in op else None
            items = ctx.map(
                step, op["items"], max_concurrency=op["limit"], tolerated_failures=tolerated, remote=op["remote"]
            )
            result = yield items.options(retry_policy=policy)
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
        case _:
            answer = yield _command(ctx, op, _own_id(ctx, op, progress))
            if "begin" in op or op["do"] in ("promise", "detached") or op.get("how") == "promise":
                progress.started.append(answer)
                progress.got.append(answer.id)
            else:
                progress.got.append(answer)


def _gathered(ctx: Context, op: Op) -> Flow:
    """Wait for several at once; return what does not depend on which of them was first."""
    begin: dict[str, Callable[[], Any]] = {
        "step": lambda: ctx.run(step, 0),
        "failing step": lambda: ctx.run(step, 99).options(retry_policy=Never()),
        "remote step": lambda: ctx.rpc("step", 1),
        "sleep": lambda: ctx.sleep(5),
    }
    members = [begin[kind]() for kind in op["members"]]
    never = "never" in op and op["how"] in ("any", "race") and set(op["members"]) != {"failing step"}
    if never:
        members.append(ctx.promise(data={}))
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


def _command(ctx: Context, op: Op, own_id: str | None) -> Any:
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
            return here(_workflow(op), op["ops"]).options(id=own_id, retry_policy=again)
        case "remote":
            return there(_workflow(op).__name__, op["ops"]).options(id=own_id)
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


# What is seen from outside


def settlements(records: Iterable[Record]) -> list[tuple[str, SettledState, Value]]:
    """What has to be done by those outside whom programs wait for: the promises, and what becomes of them."""
    found: list[tuple[str, SettledState, Value]] = []
    for record in records:
        tags = record.tags
        if not record.pending or tags.get(SCOPE) != "global" or {TARGET, TIMER, DELAY} & tags.keys():
            continue
        state: SettledState | None = codec.decode(record.param).get("settle")
        if state == "resolved":
            found.append((record.id, state, codec.encode(f"from outside: {record.id}", "a value")))
        elif state is not None:
            found.append((record.id, state, codec.encode_error(ValueError(f"not today: {record.id}"))))
    return found


def plain(result: Any) -> str:
    """A result without what may differ between two executions: how often a step has run, and instants."""
    return re.sub(r"#\d+|\b\d{10}\.\d+\b", "", str(result))


def unfinished(records: Iterable[Record], now: int) -> list[str]:
    """The ids of the promises that are waited for, and of the tasks that are not over."""
    return [
        record.id
        for record in records
        if (record.pending and record.timeout_at > now)
        or (record.task is not None and record.task.state != "fulfilled")
    ]


def shape(records: Iterable[Record]) -> dict[str, tuple[str, str]]:
    """What an execution leaves behind: state and value of each promise, without what depends on time.

    A promise that nobody has waited for may be due without anybody having written that. Whether a command that names a
    promise leaves a link to it depends on whether somebody who is not replayed any more has named it, too.
    """
    known = {record.id: record for record in records}
    maps = [id for id, record in known.items() if record.tags.get(FUNC) == "map"]
    stopped = tuple(f"{id}." for id in maps if known[id].state != "resolved" or _content(known[id])["failures"])
    overdue = tuple(f"{id}." for id, record in known.items() if OVERDUE in record.tags)
    return {
        id: ("rejected_timedout" if record.pending else record.state, plain(_content(record)))
        for id, record in known.items()
        if "~" not in id and LINK not in record.tags and not id.startswith(overdue)
        # Which promise was first depends on time, and so does whether a timer was still needed.
        if not {KIND, TIMER} & record.tags.keys()
        if id not in maps and not id.startswith(stopped)
    }


def contradictions(records: Iterable[Record]) -> dict[str, set[str]]:
    """The outcomes of which more than one version is known; each has been seen by somebody."""
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        if "~" in record.id:
            continue
        for outcome, run in re.findall(r"(\S+ (?:done|failed))#(\d+)", str(_content(record))):
            seen[outcome.lstrip("[('\"")].add(run)
    return {outcome: runs for outcome, runs in seen.items() if len(runs) > 1}


def _content(record: Record) -> Any:
    """What is recorded: the result, or the error."""
    if record.state == "resolved":
        return codec.decode(record.value)
    return repr(codec.decode_error(record.promise()))
