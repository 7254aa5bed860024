"""The replay interpreter: a workflow's generators, advanced over what is already known.

Given a function, its arguments and the records of its children, `Execution` runs the generators as far as they can go.
A command whose outcome is recorded is answered at once; for any other it asks for an `Action` - create a promise, run a
function, store an outcome - and is told the result later. When nothing is left to do here it says what it is blocked
on, and when the root has finished it shows the outcome. It performs no I/O and reads no clock, so the same code runs
under a Lambda handler, in memory and in a property test.

What holds (REFERENCE 5.6): commands are numbered in creation order, and that number makes the child's id; a promise is
awaited by yielding it; on return every attached promise that was not awaited is, in creation order; on replay each
command must be the one that is recorded under its id.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, cast

from resonate import codec
from resonate.commands import LFC, RFC, Command, PromiseCommand, Sleep
from resonate.commands import Promise as Awaitable
from resonate.computation import (
    FUNC,
    LINK,
    Action,
    Blocked,
    Coroutine,
    Create,
    Finished,
    Keep,
    Lineage,
    Load,
    Node,
    Run,
    Work,
    described,
    is_generator_function,
)
from resonate.context import Context, Info
from resonate.errors import NonDeterminismError, PayloadError, ResonateStoreError
from resonate.options import DEFAULT_TARGET, DEFAULT_TIMEOUT
from resonate.promises import CREATE_KEY, already_exists, created_alike
from resonate.registry import Registry
from resonate_store.addresses import expand
from resonate_store.records import (
    BRANCH,
    DELAY,
    EMPTY,
    ORIGIN,
    PARENT,
    PREFIX,
    SCOPE,
    TARGET,
    TIMER,
    Promise,
    SettledState,
    Value,
)
from resonate_store.requests import PromiseCreate, PromiseRecord, PromiseSettle, Response

logger = logging.getLogger("resonate.replay")

WORTH_SUSPENDING = 1_000
"""A wait that is not longer than this is waited out in the worker (ms): suspending and coming back costs more."""

Outcome = tuple[Any, BaseException | None]


class Execution:
    """One execution of one function, from its root promise to its outcome.

    Args:
        root: the function of the task, with the task's promise as its node.
        registry: the functions known here.
        dependencies: what contexts hand out.
        default_target: where a call goes that names no target.
    """

    def __init__(
        self, root: Work, registry: Registry, dependencies: Mapping[str, Any], default_target: str = DEFAULT_TARGET
    ) -> None:
        self.finished: Finished | None = None
        self._now = 0
        self._root = root
        self._registry = registry
        self._dependencies = dependencies
        self._default_target = default_target
        self._known: dict[str, Promise] = {}
        self._timers: dict[str, Promise] = {}
        self._nodes: dict[str, Node] = {root.node.id: root.node}
        self._blocked: dict[Coroutine, Node] = {}
        self._retry_timers: dict[str, Node] = {}
        self._pausing: list[Work] = []
        self._ready: deque[Coroutine] = deque()
        self._unfinished: dict[Coroutine, None] = {}
        self._actions: list[Action] = []

    def start(self, children: Sequence[Promise], now: int) -> None:
        """Begin, knowing the direct children of the root."""
        self._now = now
        self._remember(children)
        self._root.timer_stem = f"{self._root.node.id}.0"
        self._root.created = True
        self._begin(self._root)

    def advance(self, now: int) -> list[Action]:
        """Run every generator as far as it can go, and return what has to be done for them to go further.

        Raises:
            NonDeterminismError: a command is not the one that is recorded under its id.
        """
        self._now = now
        if self._pausing:
            self._end_pauses()
        while self._ready:
            self._resume(self._ready.popleft())
        actions, self._actions = self._actions, []
        return actions

    def _end_pauses(self) -> None:
        for work in [work for work in self._pausing if work.retry_at <= self._now]:
            self._pausing.remove(work)
            if not work.node.settled:
                self._launch(work)

    def blocked(self) -> Blocked:
        """What this execution waits for; meant for when `advance` returns nothing and no function is running."""
        nodes = {node.id: node for node in self._blocked.values() if node.external}
        for coroutine, node in self._blocked.items():
            own = coroutine.work.node
            if node.external and own.timeout_at < node.timeout_at and own.durable and own is not self._root.node:
                # What it waits for may come after its own time is up; then it is over, and whoever called it goes on.
                nodes[own.id] = own
        nodes.update(self._retry_timers)
        near = {
            id: node.timeout_at
            for id, node in nodes.items()
            if node.timer and node.timeout_at - self._now <= WORTH_SUSPENDING
        }
        until = min([*near.values(), *(work.retry_at for work in self._pausing)], default=None)
        return Blocked(tuple(nodes), until, tuple(id for id, at in near.items() if at == until))

    def outstanding(self) -> int:
        """How many children of the root, awaited or not, still have to be settled by others, as far as we know."""
        root = self._root.node.id
        return sum(
            node.external and not node.settled and node.id.rpartition(".")[0] == root for node in self._nodes.values()
        )

    def close(self) -> None:
        """Let go of the generators that have not finished.

        Python runs their `finally` blocks now. What those yield does not happen here: it will when a later replay of
        the workflow gets there.
        """
        for coroutine in self._unfinished:
            _close(coroutine)
        self._unfinished.clear()

    # What became of an action

    def created(self, node: Node, response: Response) -> None:
        """The node's promise exists now, or the store has refused it."""
        if response.promise is None:
            error = ResonateStoreError(response.error or "refused", response.status * 100)
            # Nobody asks for it if it is detached, so it is said here.
            logger.warning("promise %s (%s) was refused: %s", node.id, node.command or "a retry timer", error)
            self._settle(node, None, error)
        elif created_alike(response.promise, node.key):
            self._exists(node, response.promise)
        else:
            self._refuse(node, already_exists(node.id))

    def loaded(self, work: Work, children: Sequence[Promise]) -> None:
        """These are the children of a coroutine that an earlier invocation had begun."""
        self._remember(children)
        self._begin(work)

    def ran(self, work: Work, outcome: Outcome, now: int) -> None:
        """The user's function has returned or raised."""
        self._now = now
        self._ended(work, outcome)

    def kept(self, node: Node, response: Response) -> None:
        """The node's outcome is stored; what the store shows is what counts."""
        promise = response.promise
        if promise is None:
            error = ResonateStoreError(response.error or "refused", response.status * 100)
            if node.work is None or node.refused:
                self._settle(node, None, error)
            else:
                node.refused = True
                self._conclude(node.work, "rejected", codec.encode_error(error, node.encoder), None, error)
        elif node.link is not None and promise.id == node.id:
            self._copy_here(node, promise)
        else:
            self._adopt(node, promise)

    def settled(self, promise: Promise) -> None:
        """A promise that others settle has been settled, or one of ours has run out of time."""
        node = self._nodes.get(promise.id)
        if node is None or node.settled or promise.pending:
            return
        if not node.external:
            self._abandon(node)
        self._exists(node, promise)

    def _abandon(self, node: Node) -> None:
        """Let go of the coroutines that work for a promise which is settled without them."""
        for coroutine in list(self._blocked):
            id = coroutine.work.node.id
            if id == node.id or id.startswith(f"{node.id}."):
                self._blocked.pop(coroutine).waiters.remove(coroutine)
                self._unfinished.pop(coroutine, None)
                _close(coroutine)

    # Running generators

    def _resume(self, coroutine: Coroutine) -> None:
        generator = coroutine.generator
        while coroutine.ended is None:
            (value, error), coroutine.inbox = coroutine.inbox, (None, None)
            try:
                yielded = generator.send(value) if error is None else generator.throw(error)
            except StopIteration as stop:
                coroutine.ended = (stop.value, None)
                break
            except Exception as raised:
                coroutine.ended = (None, raised)
                break
            try:
                awaited = self._issue(coroutine, yielded)
            except NonDeterminismError:
                raise
            except Exception as refused:
                coroutine.inbox = (None, refused)
                continue
            if awaited is not None:
                if not awaited.settled:
                    self._wait(coroutine, awaited)
                    return
                coroutine.inbox = (awaited.value, awaited.error)
        self._unfinished.pop(coroutine, None)
        self._join(coroutine, coroutine.ended)

    def _join(self, coroutine: Coroutine, ended: Outcome) -> None:
        """Structured concurrency: a coroutine ends after everything that it started and did not detach."""
        for node in coroutine.attached:
            if not node.settled:
                self._wait(coroutine, node)
                return
        self._ended(coroutine.work, ended)

    def _wait(self, coroutine: Coroutine, node: Node) -> None:
        self._blocked[coroutine] = node
        node.waiters.append(coroutine)

    def _issue(self, coroutine: Coroutine, yielded: Any) -> Node | None:
        """Act on what a generator yielded; returns the node to wait for, or None to go on at once."""
        if isinstance(yielded, Awaitable):
            node = self._nodes.get(yielded.id)
            if node is None or yielded.cid != self._root.node.id:
                raise ValueError(f"{yielded!r} belongs to another computation: await it by ctx.promise(id=...)")
            if node in coroutine.attached:
                coroutine.attached.remove(node)
            return node
        command = cast("Command[Any]", yielded)
        if not isinstance(yielded, Command):
            raise TypeError(
                "a workflow yields commands such as ctx.run(...), or promises, and not"
                f" {type(yielded).__name__}: {yielded!r:.80}"
            )
        place = coroutine.work.context.next_id()
        detached = isinstance(command, RFC) and not command.attached
        node = self._node_for(command, place, coroutine.work, detached=detached)
        if command.waits:
            return node
        if not detached:
            coroutine.attached.append(node)
        coroutine.inbox = (Awaitable(node.id, self._root.node.id), None)
        return None

    # Issuing commands

    def _node_for(self, command: Command[Any], place: str, parent: Work, *, detached: bool) -> Node:
        id = command.opts.id or place
        existing = self._nodes.get(id)
        if existing is not None:
            return existing
        timeout = command.seconds if isinstance(command, Sleep) else command.opts.timeout
        timeout_at = self._now + math.ceil((DEFAULT_TIMEOUT if timeout is None else timeout) * 1000)
        # Whoever is detached, or named on its own, lives on its own: it is the root of a tree (DESIGN 3).
        lineage = parent.lineage.apart(id) if detached or id != place else parent.lineage
        node = Node(id, timeout_at if detached else min(timeout_at, lineage.timeout_at), command.describe())
        local = isinstance(command, LFC)
        node.external = not local
        node.timer = isinstance(command, Sleep)
        node.encoder = command.opts.encoder
        node.key = command.opts.key_for(id)
        work = node.work = self._work_for(command, node, lineage) if local else None
        request = None if work is not None else self._request(command, node, lineage)
        self._nodes[id] = node
        known = self._known.get(place)
        if id != place:
            node.link = place
            node.inherited = parent.lineage.tags
            node.command = f"{node.command} with the id {id}"
            if work is not None:
                work.timer_stem = place
        if known is not None and described(known) != node.command:
            raise NonDeterminismError(place, described(known), node.command)
        if node.link is not None and known is not None and known.pending:
            # Over HTTP a record is created and then settled; whoever was to do that did not get to it.
            known = None
        if node.link is not None and known is not None:
            self._adopt(node, known)
        elif known is not None:
            self._exists(node, known)
        elif request is not None:
            self._actions.append(Create(node, request))
        elif work is not None:
            self._start_local(work, command)
        return node

    def _work_for(self, command: LFC[Any], node: Node, lineage: Lineage) -> Work:
        node.annotation = codec.signature_of(command.func).result
        node.durable = command.opts.durable is not False
        tags = {**(command.opts.tags or {}), **lineage.tags, FUNC: command.name}
        if node.key is not None:
            tags[CREATE_KEY] = node.key
        info = Info(1, node.timeout_at / 1000, tags, 1, command.opts.key_for(node.id) or node.id)
        context = Context(node.id, info, self._registry, self._dependencies)
        if is_generator_function(command.func):  # a plain function has no children to hand anything down to
            lineage = Lineage.of(node.id, lineage.origin, lineage.prefix, node.id, node.timeout_at)
        work = Work(node, command.func, command.name, command.args, command.kwargs, context, lineage, command.opts)
        work.concurrent = not command.waits
        return work

    def _start_local(self, work: Work, command: Command[Any]) -> None:
        """A finished step is recorded in one write; whatever else runs here is created pending before it runs."""
        opts = command.opts
        plain = not (opts.id or opts.timeout is not None or opts.idempotency_key)
        if is_generator_function(work.func):
            # Without a promise of its own nothing says whether it was begun before; its steps are durable all the same.
            durable = work.node.durable
            self._actions.append(Create(work.node, self._pending(work)) if durable else Load(work))
        elif plain or not work.node.durable:
            self._begin(work)
        else:
            self._actions.append(Create(work.node, self._pending(work)))

    def _pending(self, work: Work) -> PromiseCreate:
        return PromiseCreate(work.node.id, work.node.timeout_at, tags=work.context.info.tags)

    def _request(self, command: Command[Any], node: Node, lineage: Lineage) -> PromiseCreate:
        tags = {
            **(command.opts.tags or {}),
            SCOPE: "global",
            PARENT: lineage.id,
            ORIGIN: lineage.origin,
            BRANCH: node.id,
            PREFIX: lineage.prefix,
        }
        if node.key is not None:
            tags[CREATE_KEY] = node.key
        param = Value()
        if isinstance(command, RFC):
            tags[TARGET] = expand(command.opts.target or self._default_target)
            tags[FUNC] = command.name
            version = command.opts.version or command.version
            param = codec.encode_call(command.name, command.args, command.kwargs, version, node.encoder)
            node.annotation = self._result_type(command.name, version)
        elif isinstance(command, PromiseCommand):
            param = codec.encode(command.data, f"the data of promise {node.id}", "data")
        elif isinstance(command, Sleep):
            tags[TIMER] = "true"
        return PromiseCreate(node.id, node.timeout_at, param, tags)

    def _result_type(self, name: str, version: int) -> Any:
        """The annotated result of a remote function, if this process happens to know the function."""
        try:
            return codec.signature_of(self._registry.get(name, version).func).result
        except ValueError:
            return Any

    # Promises that exist

    def _remember(self, children: Sequence[Promise]) -> None:
        for child in children:
            self._known[child.id] = child
            stem, mark, attempt = child.id.rpartition("~")
            if mark and attempt.isdigit() and _attempt_of(child) > _attempt_of(self._timers.get(stem)):
                self._timers[stem] = child

    def _exists(self, node: Node, promise: Promise) -> None:
        """The node's promise is known: take its outcome, or do what settles it."""
        if not promise.pending:
            self._copy_here(node, promise) if node.link else self._adopt(node, promise)
            return
        node.timeout_at = promise.timeout_at
        work = node.work
        if work is None or work.created:
            return
        work.created = True
        work.context.info.timeout = promise.timeout_at / 1000
        work.lineage = work.lineage._replace(timeout_at=promise.timeout_at)
        begun = node.link is not None or promise.id in self._known
        if begun and is_generator_function(work.func):
            self._actions.append(Load(work))
        else:
            self._begin(work)

    def _copy_here(self, node: Node, promise: Promise) -> None:
        """Keep the outcome of a promise that lies elsewhere under the command's own number: replay reads only that."""
        if promise.state == "resolved":
            self._keep_here(node, "resolved", promise.value)
        else:
            error = codec.decode_error(promise, node.encoder)
            self._keep_here(node, "rejected", codec.encode_error(error, node.encoder))

    def _keep_here(self, node: Node, state: SettledState, value: Value) -> None:
        assert node.link is not None
        node.external = False
        tags = {**node.inherited, FUNC: node.command.removesuffix(f" with the id {node.id}"), LINK: node.id}
        request = PromiseRecord(node.link, self._root.node.timeout_at, self._now, state, value, tags=tags)
        self._actions.append(Keep(node, request))

    def _refuse(self, node: Node, error: ResonateStoreError) -> None:
        """The command has failed for good: replay finds the same under its number, whatever becomes of the promise."""
        node.work = None
        if node.link is None:
            self._settle(node, None, error)
        else:
            self._keep_here(node, "rejected", codec.encode_error(error, node.encoder))

    def _adopt(self, node: Node, promise: Promise) -> None:
        """Take the outcome of a settled promise as the node's."""
        value, error = None, None
        try:
            value = codec.outcome_of(promise, node.annotation, node.encoder)
        except Exception as raised:
            error = raised
        self._settle(node, value, error)

    def _settle(self, node: Node, value: Any, error: BaseException | None) -> None:
        if node.settled:
            return
        node.settled = True
        node.value, node.error = value, error
        node.work = None
        for coroutine in node.waiters:
            del self._blocked[coroutine]
            if coroutine.ended is None:
                coroutine.inbox = (value, error)
            self._ready.append(coroutine)
        node.waiters.clear()
        if node.then is not None:
            node.then()

    # Work that is done here

    def _begin(self, work: Work) -> None:
        """Start a function, after the attempt that its latest retry timer tells; short pauses leave none.

        A generator repeats its earlier attempts, whose steps are all recorded: its commands are numbered through.
        """
        timer = self._timers.get(work.timer_stem)
        if timer is not None and not is_generator_function(work.func):
            work.attempt = _attempt_of(timer)
            self._after(work, timer)
        else:
            self._launch(work)

    def _after(self, work: Work, timer: Promise) -> None:
        """Go on after the attempt whose retry timer this is."""
        if timer.pending:
            self._rest(work, Node(timer.id, timer.timeout_at))
        else:
            work.attempt += 1
            self._launch(work)

    def _launch(self, work: Work) -> None:
        work.context.info.attempt = work.attempt
        work.started_at = self._now
        if not is_generator_function(work.func):
            self._actions.append(Run(work))
            return
        try:
            generator = work.func(work.context, *work.args, **work.kwargs)
        except Exception as error:
            self._ended(work, (None, error))
            return
        coroutine = Coroutine(work, generator)
        self._unfinished[coroutine] = None
        self._ready.append(coroutine)

    def _ended(self, work: Work, outcome: Outcome) -> None:
        value, error = outcome
        if error is None:
            try:
                payload = EMPTY
                if work.node.durable:
                    payload = codec.encode(value, f"the result of {work.name}", "result", work.node.encoder)
            except PayloadError as refused:
                error = refused
            else:
                self._conclude(work, "resolved", payload, value, None)
                return
        elif self._postponed(work, error):
            return
        self._conclude(work, "rejected", codec.encode_error(error, work.node.encoder), None, error)

    def _postponed(self, work: Work, error: BaseException) -> bool:
        """Arrange the next attempt after a failure, if the retry policy grants one.

        A pause that is longer than a suspension is worth is a timer promise, which carries the error and whose number
        is the attempt's, so the worker may exit and the count survives.
        """
        timer = self._timers.get(work.timer_stem)
        if timer is not None and _attempt_of(timer) > work.attempt:
            work.attempt += 1
            self._launch(work)
            return True
        if timer is not None and _attempt_of(timer) == work.attempt:
            self._after(work, timer)
            return True
        pause = work.pause_after(error, self._now)
        if pause is None:
            return False
        if pause <= WORTH_SUSPENDING or not work.node.durable:
            work.attempt += 1
            work.retry_at = self._now + pause
            self._pausing.append(work)
            return True
        if not work.created:
            work.created = True
            self._actions.append(Create(work.node, self._pending(work)))
        rest = Node(work.timer_id(), self._now + pause)
        tags = {**work.context.info.tags, SCOPE: "global", TIMER: "true"}
        for tag in (TARGET, DELAY):
            tags.pop(tag, None)
        tags[ORIGIN] = work.lineage.origin
        param = codec.encode_error(error, work.node.encoder)
        self._rest(work, rest)
        self._actions.append(Create(rest, PromiseCreate(rest.id, rest.timeout_at, param, tags)))
        return True

    def _rest(self, work: Work, timer: Node) -> None:
        """Let the work wait for its retry timer."""
        timer.external = timer.timer = True

        def again() -> None:
            del self._retry_timers[timer.id]
            if not work.node.settled:
                work.attempt += 1
                self._launch(work)

        timer.then = again
        self._nodes[timer.id] = self._retry_timers[timer.id] = timer

    def _conclude(
        self, work: Work, state: SettledState, payload: Value, value: Any, error: BaseException | None
    ) -> None:
        """The work is over: store its outcome, or hand it out if it is the root's."""
        node = work.node
        if node is self._root.node:
            self.finished = Finished(state, payload)
        elif not node.durable:
            self._settle(node, value, error)
        elif work.created:
            self._actions.append(Keep(node, PromiseSettle(node.id, state, payload)))
        else:
            tags = work.context.info.tags
            self._actions.append(
                Keep(node, PromiseRecord(node.id, node.timeout_at, work.started_at, state, payload, tags=tags))
            )


def _close(coroutine: Coroutine) -> None:
    try:
        coroutine.generator.close()
    except Exception as error:
        logger.debug("%s was closed: %s", coroutine.work.name, error)


def _attempt_of(timer: Promise | None) -> int:
    """The attempt after which this retry timer was made; 0 for none."""
    return 0 if timer is None else int(timer.id.rpartition("~")[2])
