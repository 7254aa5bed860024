"""`resonate.executions`: find, count and manage executions from outside of a workflow.

An execution is a root promise: a call that a program or a schedule has started, or a promise of its own. The rules of
what is "failed" or "retrying" are those of the store, so the command line, the console and programs agree::

    page = resonate.executions.list(state="failed", function="order", since=timedelta(hours=24))
    for execution in page.items:
        print(execution.id, execution.error)

All of it works in memory, with a table, and with a server of this project. Another server refuses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from resonate.errors import ResonateStoreError, refusal
from resonate.errors.mistakes import ArgumentValueError
from resonate.operations.forking import Forked, fork, redrive
from resonate.payloads import waits
from resonate.payloads.readable import call_in, error_text
from resonate.validation import require, require_text, require_texts
from resonate_store.interface import Store
from resonate_store.model.clock import Clock, ambient
from resonate_store.model.execution_requests import (
    ExecutionCount,
    ExecutionDelete,
    ExecutionFilter,
    ExecutionGet,
    ExecutionRetry,
    ExecutionSearch,
    ExecutionStatus,
    ExecutionView,
)
from resonate_store.model.ids import is_retry_timer
from resonate_store.model.records import PromiseState
from resonate_store.model.requests import Request, Response
from resonate_store.model.tags import TARGET

Instant = int | datetime | timedelta
"""An instant: milliseconds since the epoch, an aware `datetime`, or a `timedelta` before now."""


@dataclass(frozen=True, kw_only=True)
class DurableExecution:
    """An execution as it was when it was read. Instants are milliseconds since the epoch.

    Attributes:
        id: its id.
        state: the state of its promise: "pending", "resolved", "rejected", "rejected_canceled" or "rejected_timedout".
        status: what it does now. A settled execution has its state as status. A pending one is "running" if a worker
            has its task or is offered it. It is "retrying" if its task or one of its steps waits for its next attempt.
            Else it is "halted" or "waiting".
        function, version: the function that it calls and its version; None if unknown.
        target: the address of its workers; None for a promise without a task.
        tags: its tags.
        created_at, settled_at, timeout_at: when it was created and settled, and its deadline.
        duration_ms: how long it took, or None while it is pending.
        attempts: how many attempts in a row have failed, of its task or of the step that is retried.
        error: the error that it was rejected with, or that of the last failed attempt, or the reason of its halt.
        next_attempt_at: when its next attempt begins, if it is "retrying".
        waits: what a pending execution waits for, as text for people; empty if nothing is known.
        canceled: whether it is cancelled and has not ended yet.
    """

    id: str
    state: PromiseState
    status: ExecutionStatus
    function: str | None = None
    version: int | None = None
    target: str | None = None
    tags: dict[str, str] = field(default_factory=dict[str, str])
    created_at: int
    settled_at: int | None = None
    timeout_at: int
    duration_ms: int | None = None
    attempts: int = 0
    error: str | None = None
    next_attempt_at: int | None = None
    waits: str = ""
    canceled: bool = False

    @property
    def pending(self) -> bool:
        return self.state == "pending"

    @property
    def failed(self) -> bool:
        """Whether it was rejected or has timed out. A cancelled execution has not failed."""
        return self.state in ("rejected", "rejected_timedout")


@dataclass(frozen=True)
class ExecutionPage:
    """One page of a search.

    Attributes:
        items: the executions, the newest first. A page can be empty although more pages follow.
        cursor: continues the search with `list(..., cursor=cursor)`; None on the last page.
    """

    items: tuple[DurableExecution, ...]
    cursor: str | None = None


@dataclass(frozen=True, kw_only=True)
class StatusCounts:
    """How many executions are in each status; see `Executions.counts`.

    Attributes:
        pending: the sum of the next four, which is known even if they are None.
        running, waiting, retrying, halted: None if there are too many pending executions to look at each.
        resolved, rejected, rejected_canceled, rejected_timedout: how many have ended in this state.
        at_least: the names of the numbers that are lower bounds, because the store counts up to a limit.
    """

    pending: int
    running: int | None
    waiting: int | None
    retrying: int | None
    halted: int | None
    resolved: int
    rejected: int
    rejected_canceled: int
    rejected_timedout: int
    at_least: frozenset[str] = frozenset()

    @property
    def failed(self) -> int:
        """How many were rejected or have timed out."""
        return self.rejected + self.rejected_timedout


class Executions:
    """Access to the executions of a store.

    Args:
        store: the store.
        clock: the source of time, for a `since` or `until` that counts from now.
    """

    def __init__(self, store: Store, clock: Clock | None = None) -> None:
        self._store = store
        self._clock = clock or ambient()

    def list(
        self,
        *,
        state: ExecutionFilter | None = None,
        function: str | None = None,
        tags: dict[str, str] | None = None,
        id_prefix: str | None = None,
        since: Instant | None = None,
        until: Instant | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> ExecutionPage:
        """Return one page of executions, the newest first.

            page = resonate.executions.list(state="failed", since=timedelta(hours=12))

        Args:
            state: a status of `DurableExecution.status`, or "pending" for all that have not ended, or "failed" for
                those that were rejected or have timed out.
            function: only executions of the function with this name.
            tags: only executions that have all of these tags.
            id_prefix: only ids that begin so.
            since, until: only executions that were created from `since` until before `until`.
            limit: the most executions of the page, 1 to 1,000.
            cursor: the cursor of the page before, with the same other arguments.

        Raises:
            ResonateStoreError: an argument is invalid, or the server does not have this request.
            TypeError: an argument has the wrong type.
        """
        require_text("state", state)
        require_text("function", function)
        require_texts("tags", tags)
        require_text("id_prefix", id_prefix)
        require("limit", limit, int)
        require_text("cursor", cursor)
        request = ExecutionSearch(
            state,
            function,
            tags or {},
            id_prefix or None,
            self._instant("since", since),
            self._instant("until", until),
            limit,
            cursor,
        )
        response = self._apply(request)
        return ExecutionPage(tuple(map(shown, response.executions or ())), response.cursor)

    def iterate(
        self,
        *,
        state: ExecutionFilter | None = None,
        function: str | None = None,
        tags: dict[str, str] | None = None,
        id_prefix: str | None = None,
        since: Instant | None = None,
        until: Instant | None = None,
    ) -> Iterator[DurableExecution]:
        """Yield all executions that `list` finds, the newest first. Pages are read as they are needed.

            for execution in resonate.executions.iterate(state="failed", since=timedelta(days=1)):
                print(execution.id, execution.error)

        The arguments are those of `list`.
        """
        since, until = self._instant("since", since), self._instant("until", until)
        cursor: str | None = None
        while True:
            page = self.list(
                state=state,
                function=function,
                tags=tags,
                id_prefix=id_prefix,
                since=since,
                until=until,
                limit=1000,
                cursor=cursor,
            )
            yield from page.items
            cursor = page.cursor
            if cursor is None:
                return

    def get(self, id: str) -> DurableExecution:
        """Return one execution, or any other promise in this form.

            resonate.executions.get("order-7").status

        Args:
            id: the execution.

        Raises:
            ResonateStoreError: the promise does not exist (code 100.40400), or the server does not have this request.
        """
        require("id", id, str)
        response = self._apply(ExecutionGet(id))
        assert response.executions
        return shown(response.executions[0])

    def counts(self, *, since: Instant | None = None, until: Instant | None = None) -> StatusCounts:
        """Return how many executions are in each status.

        Args:
            since, until: only executions that were created from `since` until before `until`; all by default. Each is
                in milliseconds since the epoch, a `datetime` with a time zone, or a `timedelta` before now.
        """
        counts = self._apply(ExecutionCount(self._instant("since", since), self._instant("until", until))).counts
        assert counts is not None
        return StatusCounts(
            pending=counts.pending,
            running=counts.running,
            waiting=counts.waiting,
            retrying=counts.retrying,
            halted=counts.halted,
            resolved=counts.resolved,
            rejected=counts.rejected,
            rejected_canceled=counts.rejected_canceled,
            rejected_timedout=counts.rejected_timedout,
            at_least=frozenset(counts.at_least),
        )

    def retry_now(self, id: str) -> Literal["retried", "nothing"]:
        """End the pause before the next attempt of an execution's task, or of its steps.

        Args:
            id: the execution.

        Returns:
            "retried", or "nothing" if nothing of it waits for its next attempt.

        Raises:
            ResonateStoreError: the execution does not exist (code 100.40400), or the server does not have this request.
        """
        require("id", id, str)
        return "retried" if self._apply(ExecutionRetry(id)).count else "nothing"

    def fork(
        self,
        id: str,
        *,
        from_command: int | str | None = None,
        new_id: str | None = None,
        args: Sequence[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> Forked:
        """Run an execution again as a new one, from one of its commands.

            resonate.executions.fork("order-7", from_command=4)

        The outcomes of the commands before are copied. See docs/redrive.md.

        Args:
            id: the execution. It may be pending, and does not change.
            from_command: the number of the first command that is issued anew, as `resonate tree` shows it: 4, or "2.1"
                in a nested workflow. By default it is 1: nothing is copied.
            new_id: the id of the fork; by default `{id}@1`, or the next number that is free.
            args, kwargs: its arguments after the context; by default those of the execution.

        Returns:
            The id of the fork, and how many records were copied. A repeated call completes an interrupted one.

        Raises:
            ForkError: the execution cannot be forked like this.
            ResonateStoreError: it does not exist (code 100.40400), or the server does not have this request.
            TypeError: an argument has the wrong type.
        """
        return fork(
            self._store,
            id,
            from_command=from_command,
            new_id=new_id,
            args=args,
            kwargs=kwargs,
            clock=self._clock,
        )

    def redrive(self, id: str, *, from_command: int | str | None = None, once: bool = False) -> Forked:
        """Run a failed execution again from the command that failed, as `{id}@1`, `{id}@2` and so on.

            resonate.executions.redrive("order-7")

        Args:
            id: the execution.
            from_command: begin at this command instead; see `fork`.
            once: do nothing if it was redriven before, whatever has become of that.

        Raises:
            ForkError: it has not failed, it was redriven already and has not failed again, or no command is surely to
                blame.
            ResonateStoreError, TypeError: as for `fork`.
        """
        return redrive(self._store, id, from_command=from_command, once=once, clock=self._clock)

    def delete(self, id: str) -> int:
        """Delete an execution that has ended, and everything below it. Return how many promises were deleted.

        Args:
            id: the execution.

        Raises:
            ResonateStoreError: it does not exist (code 100.40400), is pending, is part of another execution, or the
                server does not have this request.
        """
        require("id", id, str)
        return self._apply(ExecutionDelete(id)).count or 0

    def _apply(self, request: Request) -> Response:
        response = self._store.apply(request)
        if response.status == 404:
            id = getattr(request, "id", "")
            raise ResonateStoreError("The specified promise was not found", 40400, {"id": id})
        if response.status >= 400:
            raise refusal(response.status, response.error)
        return response

    def _instant(self, name: str, at: Instant | None) -> int | None:
        """Return an instant in milliseconds since the epoch."""
        if isinstance(at, timedelta):
            return self._clock.now() - round(at.total_seconds() * 1000)
        if isinstance(at, datetime):
            if at.tzinfo is None:
                raise ArgumentValueError(
                    f"{name} must have a time zone, got {at!r}: for example at.replace(tzinfo=UTC)"
                )
            return round(at.timestamp() * 1000)
        require(name, at, (int, type(None)), "milliseconds since the epoch")
        return at


def shown(view: ExecutionView) -> DurableExecution:
    """Return what a store shows of an execution as users see it."""
    promise, task = view.promise, view.task
    retry = view.awaited if view.awaited is not None and is_retry_timer(view.awaited.id) else None
    function, version = call_in(promise)
    attempts, error, next_at = (task.attempts, task.error, task.retry_at) if task is not None else (0, None, None)
    if retry is not None:
        attempt = retry.id.rpartition("~")[2]
        attempts, error, next_at = int(attempt) if attempt.isdecimal() else 0, error_text(retry.param), retry.timeout_at
    if not promise.pending:
        error, next_at = (None if promise.state == "resolved" else _error(view)), None
    return DurableExecution(
        id=promise.id,
        state=promise.state,
        status=view.status,
        function=function,
        version=version,
        target=promise.tags.get(TARGET),
        tags=promise.tags,
        created_at=promise.created_at,
        settled_at=promise.settled_at,
        timeout_at=promise.timeout_at,
        duration_ms=None if promise.settled_at is None else promise.settled_at - promise.created_at,
        attempts=attempts,
        error=error or None,
        next_attempt_at=next_at if view.status == "retrying" else None,
        waits=waits.of_execution(view),
        canceled=task is not None and task.cancel is not None and promise.pending,
    )


def _error(view: ExecutionView) -> str:
    """Return the error of an execution that has ended without a result."""
    if text := error_text(view.promise.value):
        return text
    if view.shortened and view.promise.state == "rejected":
        return "an error that is too long for a list"
    return {"rejected_timedout": "timed out", "rejected_canceled": "canceled"}.get(view.promise.state, "")
