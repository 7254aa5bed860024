"""Attempts of an execution's functions: each function is begun, retried as `retries.decide` says, and concluded.

This part of the interpreter is the one owner of `Work`. An async function is a step until it awaits its first command.
Without a command it costs one record. With one, its promise is created, pending, and from then on it is a workflow like
any generator (docs/decisions/0020).
"""

from __future__ import annotations

import contextvars
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from types import CoroutineType, GeneratorType
from typing import Any

from resonate.engine.actions import Action, Continued, Create, Finished, ReadChildren, RecordOutcome, Run
from resonate.engine.functions import attempt_limits, attempt_log, retries
from resonate.engine.functions.exits import failure_of
from resonate.engine.functions.interception import InterceptedWorkflow
from resonate.engine.history import NOTHING, Issued, KnownRecords
from resonate.engine.model import AttemptLimits, Node, Opening, Outcome, Work, close_workflow, is_within
from resonate.engine.progress import Progress
from resonate.errors import (
    NonDeterminismError,
    PayloadError,
    ProgramError,
    ResonateTimedoutError,
    is_cancellation,
    is_final,
)
from resonate.payloads import codec
from resonate.payloads.restore import Doubtful, tell_change
from resonate.retry_policies import Never, RetryPolicy
from resonate.workflow.callables import definition_of
from resonate.workflow.commands import state_of
from resonate.workflow.continuation import ContinueAs
from resonate.workflow.deterministic import source_of_chance
from resonate.workflow.options import Options
from resonate.workflow.registry import Registry
from resonate.workflow.signatures import check_value
from resonate_store.documented import Documented
from resonate_store.model.ids import below
from resonate_store.model.records import EMPTY, PromiseView, SettledState, Value
from resonate_store.model.requests import PromiseCreate, PromiseRecord, PromiseSettle


class Attempts(ABC):
    """The functions of one execution, from their first attempt to their outcome; the base of `Execution`.

    Attributes:
        finished: the outcome of the root, once it has one, or its continuation.
        now: the instant of the latest call of the worker (ms).
        pausing: the functions that wait in this process for their next attempt.
        records: the records that are known.
        root: the function of the task.
        timers: the retry timers that functions wait for, by id.
    """

    def __init__(self, root: Work, registry: Registry, dependencies: Mapping[str, Any], private: bool) -> None:
        self.finished: Finished | Continued | None = None
        self.now = 0
        self.pausing: list[Work] = []
        self.records = KnownRecords(root.context)
        self.root = root
        self.timers: dict[str, Node] = {}
        self._actions: list[Action] = []
        self._dependencies = dependencies
        self._logs_everything = attempt_log.logs_everything()
        self._private = private
        self._progress = Progress(self.records)
        self._registry = registry
        self._surrounded: dict[Work, InterceptedWorkflow] = {}
        """The workflows that interceptors surround."""
        self._version = 0

    @abstractmethod
    def settle(self, node: Node, value: Any, error: BaseException | None) -> None:
        """Settle a node, and continue its waiters."""

    @abstractmethod
    def _enter(self, work: Work, workflow: Any, opening: Any = None) -> None:
        """Run a workflow, whose first command may be known."""

    @abstractmethod
    def _wait_for_timer(self, timer: Node) -> None:
        """Register the node of a retry timer."""

    def ran(self, work: Work, outcome: Outcome | Opening, now: int) -> None:
        """Handle the result of a function: it has returned or raised, or has become a workflow."""
        self.now = now
        if isinstance(outcome, Opening):
            self._opened(work, outcome)
        elif not work.canceled:
            self._ended(work, outcome)

    def overdue(self, work: Work, now: int) -> None:
        """Settle a function as timed out while it runs. Its later result is ignored."""
        self.now = now
        if not (work.node.settled or work.canceled):
            self._fail(work, ResonateTimedoutError(work.node.id, work.node.timeout_at / 1000))

    def _remember(self, parent: str, children: Sequence[PromiseView]) -> None:
        self.records.remember(parent, children)
        self._progress.remember(children)

    def _start(self, work: Work, opts: Options, *, is_new: bool) -> None:
        """Start a function that a workflow calls here.

        A finished step is recorded in one write. For all other functions a pending promise is created before they run.
        """
        work.is_new = is_new
        if work.kind == "workflow":
            # Without a promise, only the records of its steps show whether it was begun before.
            self._actions.append(Create(work.node, _pending(work)) if work.node.durable else ReadChildren(work))
        elif not work.node.durable or not (opts.id or opts.timeout is not None or opts.idempotency_key):
            (self._begin if self.records.timers else self._launch)(work)
        else:
            self._actions.append(Create(work.node, _pending(work)))

    def _created(self, work: Work, promise: PromiseView) -> None:
        """Continue with a function whose promise now exists, pending."""
        if work.created:
            return
        work.created = True
        work.context.info.timeout = promise.timeout_at / 1000
        work.begun = work.node.link is not None or promise.id in self.records.by_id
        if work.begun and work.kind == "workflow":
            self._actions.append(ReadChildren(work))
        else:
            self._proceed(work)

    # Attempts

    def _begin(self, work: Work) -> None:
        """Begin the first attempt that is not recorded as failed."""
        timer = self.records.timers.get(work.timer_stem)
        if timer is not None and (repeated := retries.repeated_attempts(work, timer)):
            work.attempt = repeated
            self._continue_after(work, timer)
        else:
            self._launch(work)

    def _launch(self, work: Work) -> None:
        """Call the function."""
        if work.limits is not None and self._is_interrupted(work, work.limits):
            return
        context = work.context
        if work.attempt > 1:
            context.info.attempt = work.attempt
        work.started_at = self.now
        kind = work.kind
        if kind == "workflow":
            self._progress.entered(work)
        elif kind == "async":
            self._progress.called(work)
        if self._logs_everything:
            attempt_log.log_beginning(work, private=self._private)
        if kind != "workflow":
            self._actions.append(Run(work))
            return
        try:
            generator = work.func(context, *work.args, **work.kwargs)
        except BaseException as error:
            failure = failure_of(error, work.name)
            if failure is None:
                raise
            self._ended(work, (None, failure))
        else:
            if work.interceptors is not None:
                surroundings = contextvars.copy_context()
                generator = InterceptedWorkflow(work.interceptors, work, generator, surroundings)
                self._surrounded[work] = generator
            self._run_workflow(work, generator)

    def _is_interrupted(self, work: Work, limits: AttemptLimits) -> bool:
        """Prepare an attempt with limits.

        Returns:
            Whether the step has failed instead: another worker began this attempt and recorded no outcome.
        """
        if limits.limit_ms and work.attempt > 1:
            work.context = context = copy(work.context)  # an abandoned thread may still use the one before
            work.state = state_of(context)
        if not limits.at_most_once:
            return False
        limits.mark = attempt_limits.mark_of(work, self._version, self.now)
        interrupted = attempt_limits.interruption(work, self.records.by_id.get(limits.mark.id), self._version)
        if interrupted is None:
            return False
        work.started_at = self.now
        self._fail(work, interrupted)
        return True

    def _run_workflow(self, work: Work, workflow: Any, opening: Any = None) -> None:
        if work is not self.root:  # from now on its children inherit from it
            work.lineage = work.lineage.below(work.node.id, work.node.timeout_at)
        self._enter(work, workflow, opening)

    def _opened(self, work: Work, opening: Opening) -> None:
        """Turn an async function that has issued its first command into a workflow."""
        if work.node.settled or work.canceled:
            close_workflow(opening.coroutine, work.name)
            return
        if work.limits is not None:
            close_workflow(opening.coroutine, work.name)
            self._ended(work, (None, attempt_limits.not_for_workflows(work.name, work.limits)))
            return
        first, work.is_workflow, work.opening = not work.is_workflow, True, opening
        if work.node is self.root.node or not first:
            self._proceed(work)
        elif work.begun or not work.node.durable:
            self._actions.append(ReadChildren(work))
        elif work.created:
            self._proceed(work)
        else:
            self._actions.append(Create(work.node, _pending(work)))

    def _proceed(self, work: Work) -> None:
        """Begin a workflow, or continue an async one with its first command, once its records are read."""
        opening, work.opening = work.opening, None
        if opening is None:
            self._begin(work)
            return
        from resonate.engine.functions.async_workflow import OutsideLoop  # here, because it imports asyncio

        self._progress.entered(work)
        if isinstance(opening.coroutine, InterceptedWorkflow):
            self._surrounded[work] = opening.coroutine
        self._run_workflow(work, OutsideLoop(opening.coroutine, work.name, opening.command), opening.command)

    def _ended(self, work: Work, outcome: Outcome) -> None:
        """Store what the function has returned or raised, unless it is retried."""
        value, error = outcome
        state = work.state
        if state.made > state.count and not isinstance(error, Documented):  # such an error says it
            attempt_log.log_forgotten(work)
        if state.continuing and error is None and type(value) is not ContinueAs:
            attempt_log.log_not_continued(work)
        if type(value) is ContinueAs and (error := self._continued(work, value)) is None:
            return
        if error is None:
            node = work.node
            try:
                payload = EMPTY
                if node.durable:
                    payload = codec.encode(value, f"the result of {work.name}", "result", node.encoder)
                    if type(node.annotation) is Doubtful:
                        check_value(f"the result of {work.name}", "it", value, node.annotation)
            except PayloadError as refused:
                error = _unreturnable(work, value) or refused
                error.add_note(f"{work.name} is defined at {definition_of(work.func)}")
            else:
                if self.records.by_id:
                    self._require_all_recorded(work, None)
                if self._logs_everything:
                    attempt_log.log_success(work, value, private=self._private)
                    if node.durable:
                        tell_change(f"the result of {work.name}", value, node.annotation)
                self._conclude(work, "resolved", payload, value, None)
                return
        elif is_cancellation(error):
            self._conclude(work, "rejected_canceled", codec.encode_cancellation(error), None, error)
            return
        elif self._is_called_again(work, error):
            return
        if isinstance(work.policy, (Never, type(None))) or is_final(error):  # else a retry may be recorded
            self._require_all_recorded(work, error)
        self._progress.failed(state)
        self._fail(work, error)

    def _continued(self, work: Work, continuation: ContinueAs) -> ProgramError | None:
        """End the history of the root, and return None. Return an error if another function returned the value."""
        root = self.root
        if work.node is not root.node or continuation.id != root.node.id:
            return ProgramError(
                f"{work.name} returned the {continuation!r:.200}: only the function of that execution can return it"
            )
        if self.records.by_id:
            self._require_all_recorded(work, None)
        generation = root.context.info.generation + 1
        id = f"{root.node.id}{below(generation)}0"
        tags = root.lineage.tags_of(root.name, None)
        record = PromiseRecord(id, root.node.timeout_at, self.now, "resolved", continuation.call, tags=tags)
        self.finished = Continued(record, generation)
        return None

    def _require_all_recorded(self, work: Work, error: BaseException | None) -> None:
        """Check that a workflow that ends has issued every recorded command.

        Raises:
            NonDeterminismError: it has not issued a recorded command.
        """
        if work.kind != "step" or work.node is self.root.node:
            missing = self.records.beyond(work.node.id, work.state.count)
            if missing is not None:
                place = definition_of(work.func)
                raise NonDeterminismError(missing.id, str(Issued.of(missing)), NOTHING).at(place) from error

    def _fail(self, work: Work, error: BaseException) -> None:
        attempt_log.log_failure(work, error, None, private=self._private)
        self._conclude(work, "rejected", codec.encode_error(error, work.node.encoder), None, error)

    # Retries

    def _is_called_again(self, work: Work, error: BaseException) -> bool:
        """Arrange the next attempt after a failure, and return whether there is one."""
        decision = retries.decide(
            work,
            error,
            timer=self.records.timers.get(work.timer_stem),
            now=self.now,
            default=self._registry.retry_policy,
            draw=self._draw,
            is_root=work.node is self.root.node,
        )
        match decision:
            case retries.Final(broken, blamed):
                if broken is not None:
                    self._blame(work, blamed, error, broken)
                return False
            case retries.Again():
                work.attempt += 1
                self._launch(work)
            case retries.AfterTimer(timer):
                self._continue_after(work, timer)
            case retries.PauseHere(pause_ms, until, policy, recorded):
                self._log_retry(work, error, pause_ms, policy)
                if recorded:
                    record = retries.record_of(work, error, self.now, until)
                    self._actions.append(RecordOutcome(Node(record.id, until, retries=work), record))
                else:
                    self._pause(work, until)
            case retries.DurableTimer(pause_ms, until, policy):
                self._log_retry(work, error, pause_ms, policy)
                if not work.created:
                    work.created = True
                    self._actions.append(Create(work.node, _pending(work)))
                request = retries.timer_after(work, error, until)
                timer = self._rest(work, request.id, request.timeout_at)
                self._actions.append(Create(timer, request))
        return True

    def _continue_after(self, work: Work, timer: PromiseView) -> None:
        """Begin the next attempt after this retry timer, at once if the timer is settled."""
        if timer.pending:
            self._rest(work, timer.id, timer.timeout_at)
        else:
            work.attempt += 1
            self._launch(work)

    def _rest(self, work: Work, id: str, timeout_at: int) -> Node:
        """Suspend a function until its retry timer is settled."""
        timer = self.timers[id] = Node(id, timeout_at, external=True, timer=True, retries=work)
        self._wait_for_timer(timer)
        return timer

    def _pause(self, work: Work, until: int) -> None:
        """Pause a function in this process until its next attempt."""
        work.attempt += 1
        work.retry_at = until
        self.pausing.append(work)

    def _end_pauses(self) -> None:
        """Call the functions whose pause is over."""
        for work in [work for work in self.pausing if work.retry_at <= self.now]:
            self.pausing.remove(work)
            if not (work.node.settled or work.canceled):
                self._launch(work)

    def _drop_below(self, id: str, nodes: Iterable[Node]) -> list[Work]:
        """Cancel the functions of a promise and of those below it, forget what they were to do, and return them."""
        dropped = [node.work for node in nodes if node.work is not None and is_within(node.id, id)]
        for work in dropped:
            work.canceled = True
            if work.opening is not None:
                close_workflow(work.opening.coroutine, work.name)
                work.opening = None
        self.pausing = [work for work in self.pausing if not work.canceled]
        for timer in list(self.timers.values()):
            if timer.retries is not None and timer.retries.canceled:
                del self.timers[timer.id]
        # The outcome of a call that was cancelled before, by another workflow, is still to be recorded.
        self._actions = [action for action in self._actions if not _is_within(action, id)]
        return dropped

    def _timer_settled(self, timer: Node, work: Work) -> None:
        """Continue with a function whose retry timer is settled, or whose failed attempt is recorded."""
        if not timer.external:
            self._pause(work, timer.timeout_at)
            return
        self.timers.pop(timer.id, None)
        if not (work.node.settled or work.canceled):
            work.attempt += 1
            self._launch(work)

    def _log_retry(self, work: Work, error: BaseException, pause_ms: int, policy: RetryPolicy) -> None:
        attempt_log.log_failure(work, error, pause_ms, private=self._private, policy=policy)

    def _blame(self, work: Work, policy: str, error: BaseException, broken: Exception) -> None:
        """Note that a failure is final because the retry policy raised an error."""
        attempt_log.log_broken_policy(work, policy, broken, private=self._private)
        with suppress(Exception):  # the type of the error may not accept notes
            error.add_note(f"It is final because its retry policy, {policy}, raised {type(broken).__name__}: {broken}")

    def _draw(self) -> float:
        return source_of_chance(self._dependencies).random()

    def _conclude(
        self, work: Work, state: SettledState, payload: Value, value: object, error: BaseException | None
    ) -> None:
        """Store the outcome of a function. If the function is the root, keep the outcome for the task."""
        node = work.node
        if work.interceptors is not None:
            self._surrounded.pop(work, None)
        if node is self.root.node:
            self.finished = Finished(state, payload)
        elif not node.durable:
            self.settle(node, value, error)
        elif work.created:
            self._actions.append(RecordOutcome(node, PromiseSettle(node.id, state, payload)))
        else:
            request = PromiseRecord(node.id, node.timeout_at, work.started_at, state, payload, tags=work.tags)
            self._actions.append(RecordOutcome(node, request))


def _unreturnable(work: Work, value: object) -> ProgramError | None:
    """Return the error of a function that returns a generator or coroutine, which would never run; else None."""
    if not isinstance(value, (GeneratorType, CoroutineType)):
        return None
    value.close()  # pyright: ignore[reportUnknownMemberType]
    kind = "generator" if isinstance(value, GeneratorType) else "coroutine"
    return ProgramError(
        f"{work.name} returned the {kind} {value.__name__}, which never runs like that: give the function itself to"
        f" ctx.run({value.__name__}, ...), or end with `return (yield from {value.__name__}(...))`, or `await` it"
    )


def _pending(work: Work) -> PromiseCreate:
    """Return the request that creates the promise of a function before it runs."""
    return PromiseCreate(work.node.id, work.node.timeout_at, tags=work.tags)


def _is_within(action: Action, id: str) -> bool:
    """Return whether an action is that of the function of promise `id`, or of one below it."""
    work = action.work if isinstance(action, (Run, ReadChildren)) else action.node.work
    return work is not None and is_within(work.node.id, id)
