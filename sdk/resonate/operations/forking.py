"""Fork and redrive: an execution that has run runs again, as a new one, from one of its commands (docs/redrive.md).

A fork is created halted, gets its records one by one, and is continued. Each request can be repeated. So a fork that
was interrupted is completed by the same call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from resonate.engine.forks.plan import plan
from resonate.engine.forks.source import At, Source, at_of, failed_at
from resonate.errors import ForkError, ResonateStoreError, refusal
from resonate.payloads import codec
from resonate.payloads.readable import ENCRYPTED
from resonate.validation import require, require_text
from resonate_store.interface import Store
from resonate_store.machine.tasks import FORK_VERSION
from resonate_store.model.clock import Clock, ambient
from resonate_store.model.execution_requests import TaskCopy
from resonate_store.model.ids import problem_with
from resonate_store.model.message_requests import MessageSend
from resonate_store.model.records import PromiseView, Task, Value
from resonate_store.model.requests import PromiseGet, PromiseSearch, Response, TaskContinue, TaskFork
from resonate_store.model.tags import FORKED_AT, FORKED_FROM, FUNC, IDEMPOTENCY_KEY, MESSAGE, PREFIX, TARGET
from resonate_store.server_clock import time_of

PAGE = 1000
"""How many records are read at once."""

Progress = Callable[[int, int], None]
"""Gets how many records are copied, and how many there are."""


class Forked(Struct, frozen=True):
    """Result of a fork or redrive.

    Attributes:
        id: the id of the new execution.
        source: the id of the execution that was copied.
        at: the first command that is issued anew, such as "7".
        result: "created", "completed" if an interrupted call had begun it, or "exists" if it was there already.
        copied: how many records it began with.
        warnings: what a person should know, as sentences.
    """

    id: str
    source: str
    at: str
    result: Literal["created", "completed", "exists"]
    copied: int = 0
    warnings: tuple[str, ...] = ()


class NothingToRedrive(ForkError):
    """Raised when an execution has not failed, so that there is nothing to redrive."""


class _Found(NamedTuple):
    """An execution of the store."""

    promise: PromiseView
    task: Task | None

    @property
    def being_copied(self) -> bool:
        task = self.task
        return task is not None and (task.state, task.version) == ("halted", FORK_VERSION)

    def is_fork(self, source: str, at: str | None) -> bool:
        tags = self.promise.tags
        return tags.get(FORKED_FROM) == source and (at is None or tags.get(FORKED_AT) == at)


def fork(
    store: Store,
    id: str,
    *,
    from_command: int | str | None = None,
    new_id: str | None = None,
    args: Sequence[Any] | None = None,
    kwargs: dict[str, Any] | None = None,
    clock: Clock | None = None,
    progress: Progress = lambda _copied, _all: None,
) -> Forked:
    """Run an execution again as a new one, from one of its commands.

    The outcomes of the commands before are copied. The execution that is copied does not change, and may be pending.
    A repeated call completes an interrupted one. It changes nothing if the fork is pending, or has this `new_id`.

    Args:
        store: the store of the execution.
        id: the execution.
        from_command: the number of the first command that is issued anew, as `resonate tree` shows it: 7, or "2.1" in a
            nested workflow. By default it is 1: nothing is copied.
        new_id: the id of the fork; by default `{id}@1`, or the next number that is free.
        args, kwargs: its arguments after the context; by default those of the execution.
        clock: the source of time.
        progress: gets how many records are copied.

    Raises:
        ForkError: the execution cannot be forked like this.
        ResonateStoreError: it does not exist (code 100.40400), or the server does not have these requests.
    """
    check_fork(id, from_command, new_id)
    at = at_of("1" if from_command is None else str(from_command))
    clock = clock or ambient()
    source = read(store, id)
    call = _call(source, args, kwargs)
    if new_id is None:
        new_id, found = _vacancy(store, source, at, call)
    else:
        found = _find(store, new_id)
    return _fork(store, source, at, new_id, call, found, clock, progress)


def redrive(
    store: Store,
    id: str,
    *,
    from_command: int | str | None = None,
    once: bool = False,
    clock: Clock | None = None,
    progress: Progress = lambda _copied, _all: None,
) -> Forked:
    """Run a failed execution again from the command that failed, as `{id}@1`, `{id}@2` and so on.

    It is a fork from the command whose error left the workflow, or that a cancellation or the deadline interrupted. If
    actions of a saga were undone, it begins at the first of them. A repeated call completes an interrupted one.

    Args:
        store: the store of the execution.
        id: the execution.
        from_command: begin at this command instead; see `fork`.
        once: do nothing if it was redriven before, whatever has become of that.
        clock, progress: as for `fork`.

    Raises:
        ForkError: it has not failed, it was redriven already and has not failed again, or no command is surely to
            blame.
        ResonateStoreError: as for `fork`.
    """
    check_fork(id, from_command, None)
    at = None if from_command is None else at_of(str(from_command))
    clock = clock or ambient()
    root = _get(store, id)
    if root.promise.pending:
        raise NothingToRedrive(f"{id!r} is pending: redrive it after it has failed, or cancel it first")
    if root.promise.state == "resolved":
        raise NothingToRedrive(f"{id!r} has resolved, so there is nothing to redrive: fork it to run it again")
    base = _base(root.promise)
    attempts = list(_attempts(store, base))
    latest = next((each for each in reversed(attempts) if each.promise.tags.get(FORKED_FROM)), None)
    if latest is not None and latest.promise.id != id:
        other, tags = latest.promise.id, latest.promise.tags
        if latest.being_copied and tags.get(FORKED_FROM) == id:
            source = read(store, id)
            return _fork(store, source, at_of(tags[FORKED_AT]), other, None, latest, clock, progress)
        if once:
            return Forked(other, id, tags.get(FORKED_AT, ""), "exists")
        if latest.promise.pending:
            raise ForkError(f"{id!r} was redriven as {other!r}, which is pending: wait for it, or cancel it")
        if latest.promise.state == "resolved":
            raise ForkError(f"{id!r} was redriven as {other!r}, which has resolved: fork it to run it once more")
        raise ForkError(f"{id!r} was redriven as {other!r}, which has failed too: redrive {other!r}")
    source = read(store, id)
    at = at or failed_at(source)
    if at is None:
        raise ForkError(_unclear(source))
    return _fork(store, source, at, f"{base}@{len(attempts) + 1}", None, None, clock, progress)


def check_fork(id: Any, from_command: Any, new_id: Any) -> None:
    """Raise a `TypeError` for an argument of the wrong type, or a `ForkError` for a new id that is not valid."""
    require("id", id, str)
    require("from_command", from_command, (int, str, type(None)), 'the number of a command: 7, or "2.1"')
    require_text("new_id", new_id)
    if new_id is not None and (problem := problem_with(new_id)):
        raise ForkError(problem)


def read(store: Store, id: str) -> Source:
    """Read an execution with every record below it.

    Raises:
        ForkError: it cannot be copied.
        ResonateStoreError: it does not exist.
    """
    promise, task = _get(store, id)
    if TARGET not in promise.tags or task is None:
        raise ForkError(f"{id!r} is a promise without a task: only executions can be forked")
    records = [record for page in _pages(store, PromiseSearch(id=f"{id}.", limit=PAGE)) for record in page]
    if FUNC not in promise.tags and not records and store.children(id, ":"):
        raise ForkError(f"{id!r} was recorded by another SDK, whose records this version cannot copy")
    sealed = (value for each in (promise, *records) for value in (each.param, each.value))
    if any(ENCRYPTED in (value.headers or ()) for value in sealed):
        raise ForkError(
            f"the values of {id!r} are encrypted and bound to their ids: fork it in a program that has the key, by"
            " resonate.executions.fork or redrive"
        )
    source = Source(promise, task.generation, records)
    top = promise.tags.get(PREFIX, id)
    for other in source.linked_promises():
        found = _find(store, other)
        if found is not None and found.promise.tags.get(PREFIX) == top:
            source.created.add(other)
    return source


def _fork(
    store: Store,
    source: Source,
    at: At,
    new_id: str,
    call: Value | None,
    found: _Found | None,
    clock: Clock,
    progress: Progress,
) -> Forked:
    """Create a fork, or complete it."""
    place = ".".join(map(str, at))
    result: Literal["created", "completed"] = "created" if found is None else "completed"
    if found is None:
        first = plan(source, at, new_id, time_of(store, clock).now(), call)
        root = first.root
        response = _done(
            store.apply(TaskFork(new_id, root.timeout_at, root.param, root.tags, generation=first.generation))
        )
        assert response.promise is not None
        found = _Found(response.promise, response.task)
    if not found.is_fork(source.id, place):
        raise ForkError(f"{new_id!r} exists and is not a fork of {source.id!r} from command {place}: choose another id")
    if not found.being_copied:
        return Forked(new_id, source.id, place, "exists")
    # The deadlines are those of the first try.
    planned = plan(source, at, new_id, found.promise.created_at, call)
    for number, copy in enumerate(planned.copies):
        progress(number, len(planned.copies))
        response = store.apply(TaskCopy(new_id, copy))
        if response.status == 409:  # another process has completed the fork
            return Forked(new_id, source.id, place, "exists")
        _done(response)
    for message in planned.messages:
        tags = message.tags
        _done(store.apply(MessageSend(new_id, tags[MESSAGE], tags[IDEMPOTENCY_KEY], message.param)))
    response = store.apply(TaskContinue(new_id, copied=True))
    if response.status != 409:
        _done(response)
    copied = sum(not copy.pending for copy in planned.copies) - 1  # without the record of the keys
    return Forked(new_id, source.id, place, result, copied, tuple(planned.warnings))


def _call(source: Source, args: Sequence[Any] | None, kwargs: dict[str, Any] | None) -> Value | None:
    """Return the call of the fork, or None if it has the arguments of its source."""
    if args is None and kwargs is None:
        return None
    arguments = source.promise.param if source.generation is None else source.arguments().value
    call = codec.decode(arguments)
    if not isinstance(call, dict) or "func" not in call:
        raise ForkError(f"the param of {source.id!r} is not a call, so its arguments cannot be replaced")
    return codec.encode({**call, **_given(args=args, kwargs=kwargs)}, "the call", "")


def _given(**arguments: Any) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def _vacancy(store: Store, source: Source, at: At, call: Value | None) -> tuple[str, _Found | None]:
    """Return an id for a fork: that of the same fork if it is pending, or else the next that is free."""
    base, number = _base(source.promise), 0
    place = ".".join(map(str, at))
    param = source.promise.param if call is None else call
    for number, found in enumerate(_attempts(store, base), 1):
        same = source.generation is not None or found.promise.param == param
        if found.promise.pending and found.is_fork(source.id, place) and same:
            return f"{base}@{number}", found
    return f"{base}@{number + 1}", None


def _base(promise: PromiseView) -> str:
    """Return the id that the numbers of forks follow: that of the first source, if this is a numbered fork."""
    numbered = re.fullmatch(r"(.+)@[0-9]+", promise.id)
    return numbered[1] if numbered is not None and FORKED_FROM in promise.tags else promise.id


def _attempts(store: Store, base: str) -> Iterator[_Found]:
    """Yield the executions `{base}@1`, `{base}@2` and so on, until there is none."""
    number = 1
    while (found := _find(store, f"{base}@{number}")) is not None:
        yield found
        number += 1


def _unclear(source: Source) -> str:
    failed = [
        f"{number} ({each.state})"
        for number, each in sorted(source.commands(source.id).items())
        if not each.pending and each.state != "resolved"
    ]
    shown = f"failed are {', '.join(failed)}" if failed else "no command has failed"
    return f"no command of {source.id!r} has the error of the workflow, {shown}: say from which command to run it again"


def _get(store: Store, id: str) -> _Found:
    found = _find(store, id)
    if found is None:
        raise ResonateStoreError("The specified promise was not found", 40400, {"id": id})
    return found


def _find(store: Store, id: str) -> _Found | None:
    response = store.apply(PromiseGet(id))
    if response.status == 404:
        return None
    _done(response)
    assert response.promise is not None
    return _Found(response.promise, response.task)


def _pages(store: Store, search: PromiseSearch) -> Iterator[Sequence[PromiseView]]:
    while True:
        response = _done(store.apply(search))
        yield response.promises or ()
        if response.cursor is None:
            return
        search = replace(search, cursor=response.cursor)


def _done(response: Response) -> Response:
    if response.status >= 400:
        raise refusal(response.status, response.error)
    return response
