"""Functions that run here: begun, called as often as their retry policy says, and concluded.

A pause between two attempts that is longer than a suspension is worth is a promise: a timer that carries the error and
whose number is the attempt's. The worker may exit; the count survives (docs/rules.md R12). Shorter ones are waited out,
and leave nothing behind, unless they are those of a root workflow: its policy is its caller's, and whoever continues it
may not have that. But a function that keeps failing must not keep a worker, and fill its log, for as long as the
invocation lasts: now and then even its pause is long enough.

An async function is a step until it awaits its first command. It runs on an event loop until then, and costs one record
if it never does; if it does its promise is created, pending, and from there on it is a workflow like any generator.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from types import CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any

from resonate.engine import attempt_log
from resonate.engine.blocking import WORTH_SUSPENDING
from resonate.engine.exits import failure_of
from resonate.engine.history import NOTHING, attempt_of, described
from resonate.engine.model import Create, Finished, Keep, Kind, Load, Node, Opening, Outcome, Run, Work, let_go
from resonate.errors import NonDeterminismError, PayloadError, ProgramError, ResonateTimedoutError, is_final
from resonate.payloads import codec
from resonate.payloads.restore import Doubtful, tell_change
from resonate.retry_policies import Never, RetryPolicy
from resonate.workflow.deterministic import source_of_chance
from resonate.workflow.signatures import check_value
from resonate_store.model.records import EMPTY, PromiseView, SettledState, Value
from resonate_store.model.requests import PromiseCreate, PromiseRecord, PromiseSettle
from resonate_store.model.tags import DELAY, ORIGIN, SCOPE, TARGET, TIMER, WORKFLOW

if TYPE_CHECKING:
    from resonate.engine.interpreter import Execution
    from resonate.workflow.registry import Registry

SERIES = 100
"""Attempts in a row with short pauses between them."""
LONG_PAUSE = 2_000
"""The pause after a series (ms), if the policy does not have a longer one, or the timeout is nearer."""


class Attempts:
    """The attempts of the functions of one execution.

    Attributes:
        pausing: functions whose next attempt is near.
        timers: the retry timers that are waited for, by id.
    """

    def __init__(
        self, execution: Execution, dependencies: Mapping[str, Any], registry: Registry, private: bool
    ) -> None:
        self.pausing: list[Work] = []
        self.timers: dict[str, Node] = {}
        self._execution = execution
        self._dependencies = dependencies
        self._registry = registry
        self._tells_everything = attempt_log.tells_everything()
        self._private = private

    def end_pauses(self, now: int) -> None:
        """Go on with the functions whose pause is over."""
        for work in [work for work in self.pausing if work.retry_at <= now]:
            self.pausing.remove(work)
            if not work.node.settled:
                self.launch(work)

    def begin(self, work: Work) -> None:
        """Start a function, after the attempt that its latest retry timer tells.

        A workflow repeats its earlier attempts, whose steps are all recorded: its commands are numbered through.
        """
        timer = self._execution.history.timer(work.timer_stem)
        if timer is not None and (work.kind is Kind.STEP or (work.kind is Kind.ASYNC and WORKFLOW not in timer.tags)):
            work.attempt = attempt_of(timer)
            self._after(work, timer)
        else:
            self.launch(work)

    def _after(self, work: Work, timer: PromiseView) -> None:
        """Go on after the attempt whose retry timer this is."""
        if timer.pending:
            self._rest(work, Node(timer.id, timer.timeout_at))
        else:
            work.attempt += 1
            self.launch(work)

    def launch(self, work: Work) -> None:
        """Call the function."""
        context = work.context
        context.info.attempt = work.attempt
        work.started_at = self._execution.now
        if work.kind is not Kind.STEP:
            # An async function is begun with its first command, so whatever it logs before that has been logged.
            seen = work.begun and not work.is_new and work.attempt == 1
            context.replaying = seen if work.kind is Kind.ASYNC else self._execution.repeats(work)
        if self._tells_everything:
            attempt_log.tell_beginning(work, private=self._private)
        if work.kind is not Kind.WORKFLOW:
            self._execution.act(Run(work))
            return
        try:
            generator = work.func(context, *work.args, **work.kwargs)
        except BaseException as error:
            failure = failure_of(error, work.name)
            if failure is None:
                raise
            self.ended(work, (None, failure))
        else:
            self._execution.enter(work, generator)

    def opened(self, work: Work, opening: Opening) -> None:
        """An async function has issued its first command: it needs a promise, if it has none, and its children."""
        if work.node.settled:
            let_go(opening.coroutine, work.name)
            return
        first, work.is_workflow, work.opening = not work.is_workflow, True, opening
        if work.node is self._execution.root.node or not first:
            self.proceed(work)
        elif work.begun or not work.node.durable:
            self._execution.act(Load(work))
        elif work.created:
            self.proceed(work)
        else:
            self._execution.act(Create(work.node, pending(work)))

    def proceed(self, work: Work) -> None:
        """Everything is there for a workflow to run: go on with its first command, or begin it."""
        opening, work.opening = work.opening, None
        if opening is None:
            self.begin(work)
            return
        from resonate.engine.async_workflow import OutsideLoop

        work.context.replaying = self._execution.repeats(work)
        self._execution.enter(work, OutsideLoop(opening.coroutine, work.name, opening.command), opening.command)

    def ended(self, work: Work, outcome: Outcome) -> None:
        """The function has returned or raised: store that, unless there is to be another attempt."""
        value, error = outcome
        if work.context.made > work.context.count:
            attempt_log.tell_forgotten(work)
        if error is None:
            try:
                payload = EMPTY
                if work.node.durable:
                    payload = codec.encode(value, f"the result of {work.name}", "result", work.node.encoder)
                    if type(work.node.annotation) is Doubtful:
                        check_value(f"the result of {work.name}", "it", value, work.node.annotation)
            except PayloadError as refused:
                error = _unreturnable(work, value) or refused
            else:
                if self._execution.history.records:
                    self._require_all_recorded(work, None)
                if self._tells_everything:
                    attempt_log.tell_success(work, value, private=self._private)
                    if work.node.durable:
                        tell_change(f"the result of {work.name}", value, work.node.annotation)
                self.conclude(work, "resolved", payload, value, None)
                return
        elif self._postponed(work, error):
            return
        if isinstance(work.policy, (Never, type(None))) or is_final(error):  # else it may have had another attempt
            self._require_all_recorded(work, error)
        work.context.replaying = False
        attempt_log.tell_failure(work, error, None, private=self._private)
        self.conclude(work, "rejected", codec.encode_error(error, work.node.encoder), None, error)

    def _require_all_recorded(self, work: Work, error: BaseException | None) -> None:
        """A workflow ends: every command that is recorded must have been issued.

        Raises:
            NonDeterminismError: one was not.
        """
        if work.kind is not Kind.STEP or work.node is self._execution.root.node:
            missing = self._execution.history.beyond(work.node.id, work.context.count)
            if missing is not None:
                raise NonDeterminismError(missing.id, described(missing), NOTHING) from error

    def overdue(self, work: Work) -> None:
        """The promise's time is up while the function still runs: it is over, whatever the function comes to."""
        error = ResonateTimedoutError(work.node.id, work.node.timeout_at / 1000)
        attempt_log.tell_failure(work, error, None, private=self._private)
        self.conclude(work, "rejected", codec.encode_error(error, work.node.encoder), None, error)

    def _postponed(self, work: Work, error: BaseException) -> bool:
        """Arrange the next attempt after a failure, if the retry policy grants one."""
        execution = self._execution
        timer = execution.history.timer(work.timer_stem)
        if timer is not None and attempt_of(timer) > work.attempt:
            work.attempt += 1
            self.launch(work)
            return True
        if timer is not None and attempt_of(timer) == work.attempt:
            self._after(work, timer)
            return True
        policy = work.policy
        try:
            policy = work.policy_in_force(self._registry.retry_policy)
            pause = work.pause_after(error, execution.now, self._draw, policy)
        except Exception as broken:
            self._blame(work, policy or self._registry.retry_policy, error, broken)
            return False
        if pause is None:
            return False
        if work.attempt % SERIES == 0 and execution.now + LONG_PAUSE <= work.node.timeout_at:
            pause = max(pause, LONG_PAUSE)
        attempt_log.tell_failure(work, error, pause, private=self._private, policy=policy)
        if pause <= WORTH_SUSPENDING and work.is_workflow and work.node is execution.root.node:
            self._note(work, error, execution.now + pause)
            return True
        if pause <= WORTH_SUSPENDING or not work.node.durable:
            self._pause(work, execution.now + pause)
            return True
        if not work.created:
            work.created = True
            execution.act(Create(work.node, pending(work)))
        request = _timer(work, error, execution.now + pause)
        rest = Node(request.id, request.timeout_at)
        self._rest(work, rest)
        execution.act(Create(rest, request))
        return True

    def _blame(self, work: Work, asked: Any, error: BaseException, broken: Exception) -> None:
        """The retry policy has failed, as it would whenever it is asked about this failure: so that is final."""
        policy = type(asked).__name__ if isinstance(asked, RetryPolicy) else "Resonate(retry_policy=...)"
        attempt_log.tell_broken_policy(work, policy, broken, private=self._private)
        with suppress(Exception):  # an error may be of a type that takes no notes
            error.add_note(f"It is final because its retry policy, {policy}, raised {type(broken).__name__}: {broken}")

    def _pause(self, work: Work, until: int) -> None:
        """Let the work wait in this process."""
        work.attempt += 1
        work.retry_at = until
        self.pausing.append(work)

    def _note(self, work: Work, error: BaseException, until: int) -> None:
        """Let the root wait in this process, and record the attempt that has failed, short as the pause is.

        The next attempt may be suspended. Whoever continues it repeats this one, and may not have the retry policy that
        the caller gave: the record says that there was another attempt.
        """
        timer = _timer(work, error, until)
        noted = Node(timer.id, timer.timeout_at)
        noted.then = lambda: self._pause(work, until)
        now = self._execution.now
        tags = {**timer.tags, SCOPE: "local"}
        record = PromiseRecord(timer.id, until, now, "resolved", param=timer.param, tags=tags)
        self._execution.act(Keep(noted, record))

    def _draw(self) -> float:
        return source_of_chance(self._dependencies).random()

    def _rest(self, work: Work, timer: Node) -> None:
        """Let the work wait for its retry timer."""
        timer.external = timer.timer = True

        def again() -> None:
            del self.timers[timer.id]
            if not work.node.settled:
                work.attempt += 1
                self.launch(work)

        timer.then = again
        self._execution.nodes[timer.id] = self.timers[timer.id] = timer

    def conclude(
        self, work: Work, state: SettledState, payload: Value, value: object, error: BaseException | None
    ) -> None:
        """The work is over: store its outcome, or hand it out if it is the root's."""
        node = work.node
        if node is self._execution.root.node:
            self._execution.finished = Finished(state, payload)
        elif not node.durable:
            self._execution.settle(node, value, error)
        elif work.created:
            self._execution.act(Keep(node, PromiseSettle(node.id, state, payload)))
        else:
            request = PromiseRecord(node.id, node.timeout_at, work.started_at, state, payload, tags=work.tags)
            self._execution.act(Keep(node, request))


def _unreturnable(work: Work, value: object) -> ProgramError | None:
    """Return the error of a function that returns a generator or coroutine, which then never runs; else None."""
    if not isinstance(value, (GeneratorType, CoroutineType)):
        return None
    value.close()  # pyright: ignore[reportUnknownMemberType]
    kind = "generator" if isinstance(value, GeneratorType) else "coroutine"
    return ProgramError(
        f"{work.name} returned the {kind} {value.__name__}, which never runs like that: give the function itself to"
        f" ctx.run({value.__name__}, ...), or end with `return (yield from {value.__name__}(...))`, or `await` it"
    )


def _timer(work: Work, error: BaseException, until: int) -> PromiseCreate:
    """The request that creates the retry timer after this attempt."""
    tags = {**work.tags, SCOPE: "global", TIMER: "true"}
    for tag in (TARGET, DELAY):
        tags.pop(tag, None)
    tags[ORIGIN] = work.lineage.origin
    if work.is_workflow and work.kind is Kind.ASYNC:
        tags[WORKFLOW] = "true"
    return PromiseCreate(work.timer_id(), until, codec.encode_error(error, work.node.encoder), tags)


def pending(work: Work) -> PromiseCreate:
    """The request that creates the promise of a function before it runs."""
    return PromiseCreate(work.node.id, work.node.timeout_at, tags=work.tags)
