"""Replay tests: does today's code repeat the commands that a history records?

The interpreter of the workers gets the recorded promises and nothing else. It has no store, and it calls workflows
only, not steps. A step with a record gets its outcome from the record; where the records end, the replay ends. Nested
workflows are replayed too, even finished ones, because a running execution may be in the middle of one. An async
function is a workflow if commands of its own are recorded, else a step.

A history passes on two conditions. Each command of today's code is the one recorded under its id. And a workflow that
ends has issued as many commands as are recorded. Results are not compared, because a worker continues with another
result too. A worker also continues with other arguments, data, or lengths of a sleep, because it uses the record. They
only cause a warning, if the history contains them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from msgspec import Struct
from msgspec.structs import replace

from resonate.client.function import Function
from resonate.engine.actions import Action, Ask, CancelCall, Create, Look, ReadChildren, ReadPromise, RecordOutcome
from resonate.engine.history import NOTHING
from resonate.engine.interpreter import Execution
from resonate.engine.model import Coroutine, Node, Work
from resonate.errors import NonDeterminismError, PayloadError, SignatureError
from resonate.payloads import codec
from resonate.retry_policies import RetryPolicy
from resonate.testing.functions import registry_of
from resonate.testing.history import History, Recorded
from resonate.worker.async_functions import AsyncFunctions
from resonate.worker.calls import call
from resonate.worker.resources import Resources
from resonate.worker.worker import Worker
from resonate.workflow.commands import Command, LocalCall, RemoteCall, Sleep
from resonate.workflow.options import Options
from resonate.workflow.patches import Patched
from resonate.workflow.registry import Registry, plain_function
from resonate_store.documented import Documented
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import END_OF_TIME, PromiseView
from resonate_store.model.requests import PromiseRecord, PromiseSettle, Response
from resonate_store.model.tags import ORIGIN, SCOPE, TARGET

TOLERANCE_MS = 500
"""Two lengths of a sleep are equal if they differ by less: different clocks have measured them."""


class Difference(Documented, AssertionError):
    """Today's code does not replay a history.

    Args:
        history: the history.

    Attributes:
        id: the id of the first command that differs.
        recorded: the recorded command, such as `run charge`; `nothing` if there is none.
        now: the command of today's code; `nothing` if the workflow ends before.
    """

    def __init__(self, history: History, id: str, recorded: str, now: str) -> None:
        self.id = id
        self.recorded = recorded
        self.now = now
        lines = history.lines()
        ids = [record.id for record in history]
        at = ids.index(id) if id in ids else None
        if at is None:
            lines.append(f"> {id}  {recorded}")
        else:
            lines[at] = ">" + lines[at][1:]
        shown = "\n".join(lines if at is None else lines[: at + 1])
        super().__init__(
            f"{history.id} is not replayed by today's code: the first command that differs is {id}\n"
            f"  recorded: {recorded}\n"
            f"  now:      {now}\n"
            f"the history up to there:\n{shown}"
        )


class ReplayWarning(UserWarning):
    """Today's code replays a history with other arguments, other data, or another length of a sleep."""


class _Comparing(Execution):
    """Execution that compares arguments of remote calls, data of promises and lengths of sleeps with the records.

    Attributes:
        recorded: the history.
        changed: a sentence for each difference, by id.
        patches: the latest answer about each patch, by workflow and name.
    """

    recorded: History
    changed: dict[str, str]
    patches: dict[tuple[str, str], bool]

    def _issue(self, coroutine: Coroutine, yielded: Any) -> Node | None:
        now = self.now
        issued = super()._issue(coroutine, yielded)
        if isinstance(yielded, Patched):
            self.patches[coroutine.work.context.id, yielded.name] = issued is not None or coroutine.inbox[0]
        if isinstance(yielded, Command) and not (isinstance(yielded, LocalCall) or yielded.special or yielded.opts.id):
            command = cast("Command[Any]", yielded)
            state = coroutine.state
            record = self.recorded.find(f"{state.stem}{state.count}")
            if record is not None:
                self._compare(record, command, min(coroutine.work.lineage.timeout_at, END_OF_TIME), now)
        return issued

    def _has_passed(self, coroutine: Coroutine) -> bool:
        record = self.recorded.find(coroutine.work.context.id)
        return (record is not None and not record.pending) or super()._has_passed(coroutine)

    def _compare(self, record: Recorded, command: Command[Any], until: int, now: int) -> None:
        if isinstance(command, Sleep):
            then = record.timeout_at - record.created_at
            length = min(round(command.seconds * 1000), until - record.created_at)
            if abs(then - length) >= TOLERANCE_MS:
                self._note(record, f"slept {then / 1000:g} s when it was recorded, and now {command.seconds:g} s")
            return
        try:
            _, request = self._conventions.external(
                command, record.id, record.id, self.root.lineage, now, detached=False
            )
        except Exception:  # a worker uses the record and does not encode the arguments
            return
        if request.param == record.promise.param:
            return
        try:
            then, today = record.param, codec.decode(request.param)
        except PayloadError:  # it is encrypted, or written with an encoder
            return
        if isinstance(command, RemoteCall):
            then, today = _arguments(then), _arguments(today)
        if then != today:
            self._note(record, f"had {then!r:.200} when it was recorded, and now {today!r:.200}")

    def _note(self, record: Recorded, text: str) -> None:
        self.changed[record.id] = f"{record.id} ({record.command}) {text}: a worker goes on with what is recorded"


def _arguments(call: Any) -> Any:
    """Return the arguments of a call without its version."""
    if not isinstance(call, dict):
        return call
    known = cast("dict[str, Any]", call)
    return {"args": known.get("args") or [], "kwargs": known.get("kwargs") or {}}


class Replayed(Struct, frozen=True):
    """Result of a replay without a difference.

    Attributes:
        finished: whether the workflow ended.
        commands: the ids of the replayed records, in the order of the history.
        stopped_at: the ids of the commands that the replay stopped at, because they have no record or no outcome.
        changed: the ids of calls, promises and sleeps whose arguments, data or length differ from the record.
        patches: the answers to `ctx.patched`, by the id of the workflow and the name of the patch. If a workflow asks
            several times, the answer is the last one.
    """

    finished: bool
    commands: tuple[str, ...]
    stopped_at: tuple[str, ...]
    changed: tuple[str, ...] = ()
    patches: Mapping[tuple[str, str], bool] = {}


def replay(
    history: History | str | Path,
    workflow: Callable[..., Any],
    *,
    registry: Registry | None = None,
    dependencies: Mapping[str, Any] | None = None,
    retry_policy: RetryPolicy | None = None,
) -> Replayed:
    """Check that today's code of a workflow repeats the commands of a history.

        def test_running_orders_continue():
            replay(Path("histories/order-17.json"), app.order)

    Args:
        history: the history, its JSON, or the path of a file with it.
        workflow: today's code of the recorded execution.
        registry: the functions that the workflow calls by `ctx.rpc(function)`. By default those of its own `Resonate`;
            without one, only calls by name are possible.
        dependencies: objects that `ctx.get_dependency` returns to workflows; by default those of its own `Resonate`.
        retry_policy: the retry policy that the execution was started with, if any.

    Returns:
        How far the replay came.

    Warns:
        ReplayWarning: the arguments of a remote call, the data of a promise or the length of a sleep differ. The
            arguments of local calls are not recorded.

    Raises:
        Difference: the code issues other commands. The error shows the first command that differs.
        HistoryFormatError: the text is not a history.
        ValueError: the recorded promise is not the call of a function.
    """
    if isinstance(history, Path):
        history = history.read_text(encoding="utf-8")
    if isinstance(history, str):
        history = History.from_json(history)
    if isinstance(workflow, Function):
        workflow = cast("Function[..., Any]", workflow)
        program = workflow.resonate
        registry = registry or program.registry
        dependencies = program.dependencies if dependencies is None else dependencies
    replaying = _Replay(history, workflow, registry, dependencies or {}, Options(retry_policy=retry_policy))
    replayed = replaying.run()
    for message in replaying.changed:
        warnings.warn(message, ReplayWarning, stacklevel=2)
    return replayed


class _Replay:
    """One replay."""

    def __init__(
        self,
        history: History,
        workflow: Callable[..., Any],
        registry: Registry | None,
        dependencies: Mapping[str, Any],
        options: Options,
    ) -> None:
        self._history = history
        self._now = history.root.created_at
        self._stopped: dict[str, None] = {}
        self._apart: list[Node] = []
        self._works: dict[str, Work] = {}
        self._async_functions = AsyncFunctions()
        target = history.root.tags.get(TARGET, "poll://any@default")
        known = registry_of(registry, plain_function(workflow), history.root)
        # This worker only builds the root of the execution; its store is empty.
        resources = Resources(MemoryStore(ManualClock(self._now)), ManualClock(self._now))
        worker = Worker(resources, known, dependencies, "replay")
        worker.remember(history.id, options)
        children = history.children(history.id)
        promise = _as_pending(history.root.promise)
        if (generation := history.root.task and history.root.task.generation) is not None:
            promise = replace(promise, param=next(each.promise.value for each in children if each.begins_generation))
        begun = [child.promise for child in children]
        try:
            _, root = worker._root(promise, generation, begun, first=not begun)  # pyright: ignore[reportPrivateUsage]
        except SignatureError as error:
            raise Difference(history, children[0].id, children[0].command, error.mesg) from None
        self._works[history.id] = root
        self._execution = _Comparing(root, known, dependencies, target)
        self._execution.recorded, self._execution.changed, self._execution.patches = history, {}, {}

    @property
    def changed(self) -> list[str]:
        """Sentences about differences that a worker does not check."""
        return list(self._execution.changed.values())

    def run(self) -> Replayed:
        try:
            self._execution.start(self._children(self._history.id), self._now)
            while self._step():
                pass
            return self._replayed()
        except NonDeterminismError as error:
            id, recorded, now = error.args
            raise Difference(self._history, id, recorded, now) from None
        finally:
            self._execution.close()
            self._async_functions.stop()

    def _replayed(self) -> Replayed:
        """Return the result of the replay, once it cannot continue."""
        finished = self._execution.finished is not None
        if not finished and self._ended(self._history.root) and not self._stopped:
            now = f"waits for {', '.join(self._execution.blocked().ids)}"
            raise Difference(self._history, self._history.id, self._history.root.outcome(), now)
        commands = tuple(record.id for record in self._history if self._issued(record))
        waiting = () if finished else self._execution.blocked().ids
        stopped_at = tuple(dict.fromkeys((*self._stopped, *waiting)))
        changed, patches = tuple(self._execution.changed), dict(self._execution.patches)
        return Replayed(finished, commands, stopped_at, changed, patches)

    def _step(self) -> bool:
        """Advance the execution as far as possible, and return whether anything has changed."""
        execution = self._execution
        actions = execution.advance(self._now)
        for action in actions:
            self._act(action)
        if actions:
            return True
        if execution.finished is not None:
            return False
        blocked = execution.blocked()
        if blocked.until is not None and blocked.until > self._now and not blocked.timers:
            self._now = blocked.until  # a short pause between two attempts of a workflow is not recorded
            return True
        self._check_awaited()
        return self._let_go()

    def _check_awaited(self) -> None:
        """Stop at each awaited promise that has another origin: its outcome has no record at the command's place.

        A detached call that is not awaited is not checked: its promise may have been deleted.
        """
        for node in self._apart:
            if node.waiters:
                self._unrecorded(node, optional=False)

    def _let_go(self) -> bool:
        """Settle a nested workflow that did not end, because it timed out or was cancelled.

        Returns:
            Whether there was one.
        """
        for id in sorted(self._works, key=len, reverse=True):
            record, node = self._history[id], self._works[id].node
            if id == self._history.id or record.pending or node.settled:
                continue
            if self._ended(record) and not any(stopped.startswith(f"{id}.") for stopped in self._stopped):
                raise Difference(self._history, id, record.outcome(), "still waits")
            self._execution.settled(record.promise)
            return True
        return False

    def _act(self, action: Action) -> None:
        match action:
            case Create():
                self._create(action)
            case ReadChildren():
                self._works[action.work.node.id] = action.work
                self._execution.loaded(action.work, self._children(action.work.node.id))
            case RecordOutcome():
                self._keep(action)
            case CancelCall():
                pass  # its result is in the history
            case ReadPromise():
                record = self._history[action.request.id]
                self._execution.fetched(action.node, Response(promise=self._shown(record)))
            case Ask() | Look():
                self._unrecorded(action.node, optional=False)
            case _ if self._is_workflow(action.work):
                self._works[action.work.node.id] = action.work
                # A worker reads them at the first command, but the workflow may not issue any.
                self._execution.records.remember(action.work.node.id, self._children(action.work.node.id))
                outcome = call(action.work, self._async_functions)
                assert outcome is not None, "nobody stops this loop"
                self._execution.ran(action.work, outcome, self._now)
            case _:
                self._do_not_run(action.work)

    def _is_workflow(self, work: Work) -> bool:
        """Return whether to call an async function; that of the root is always called."""
        return work.kind == "async" and (work is self._execution.root or self._has_commands(work.node.id))

    def _create(self, action: Create) -> None:
        node, request = action.node, action.request
        record = self._history.find(request.id)
        if record is not None:
            self._execution.created(action, Response(promise=self._shown(record)))
        elif request.tags.get(ORIGIN) == request.id:
            self._apart.append(node)
        else:
            self._unrecorded(node, optional="~" in request.id)

    def _do_not_run(self, work: Work) -> None:
        record = self._history.find(work.node.id)
        if record is not None and not record.pending:
            self._execution.settled(record.promise)
        else:
            self._unrecorded(work.node, optional=record is not None or not work.node.durable)

    def _unrecorded(self, node: Node, *, optional: bool) -> None:
        """Stop at a command without a record.

        If the recorded workflow has ended, all its commands are recorded. Then a command without a record is a
        difference.
        """
        place = node.link or node.id
        parent = self._history.find(place.rpartition(".")[0])
        if not optional and parent is not None and self._ended(parent):
            raise Difference(self._history, place, NOTHING, node.describe())
        self._stopped[node.id] = None

    def _keep(self, action: RecordOutcome) -> None:
        node, request = action.node, action.request
        record = self._history.find(request.id)
        if record is not None and not record.pending:
            self._execution.kept(node, Response(promise=record.promise))
            return
        self._execution.kept(node, Response(promise=_as_settled(request, record, self._now)))

    def _children(self, id: str) -> list[PromiseView]:
        return [self._shown(record) for record in self._history.children(id)]

    def _shown(self, record: Recorded) -> PromiseView:
        """Return the promise for the interpreter: pending for a workflow with commands of its own, so that it runs."""
        workflow = record.tags.get(SCOPE) == "local" and self._has_commands(record.id)
        return _as_pending(record.promise) if workflow else record.promise

    def _has_commands(self, id: str) -> bool:
        return any("~" not in child.id for child in self._history.children(id))

    def _ended(self, record: Recorded) -> bool:
        """Return whether it ended by itself, after everything that it started and did not detach."""
        if record.state not in ("resolved", "rejected"):
            return False
        return not any(child.pending and not child.foreign for child in self._history.children(record.id))

    def _issued(self, record: Recorded) -> bool:
        if record.id == self._history.id or record.begins_generation:
            return record.id == self._history.id
        parent, _, number = record.id.rpartition(".")
        work = self._works.get(parent)
        number = number.partition("~")[0].rpartition("+")[2]
        return work is not None and number.isdecimal() and int(number) <= work.state.count


def _as_pending(promise: PromiseView) -> PromiseView:
    return replace(promise, state="pending", settled_at=None)


def _as_settled(request: PromiseSettle | PromiseRecord, record: Recorded | None, now: int) -> PromiseView:
    if record is not None:
        return replace(record.promise, state=request.state, value=request.value, settled_at=now)
    assert isinstance(request, PromiseRecord), "only what is recorded is settled"
    return PromiseView(
        id=request.id,
        state=request.state,
        param=codec.encode(None, "nothing"),
        value=request.value,
        tags=request.tags,
        timeout_at=request.timeout_at,
        created_at=now,
        settled_at=now,
    )
