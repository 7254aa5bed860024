"""Methods of `Context` that wait for several promises, or cancel one. Their commands are loaded with the first use."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from resonate.errors.mistakes import ArgumentTypeError
from resonate.validation import Seconds, duration_s
from resonate.workflow.commands import (
    LFC,
    LFI,
    RFC,
    RFI,
    BeginSleep,
    Cancel,
    Command,
    CommandState,
    Promise,
    PromiseCommand,
)
from resonate.workflow.messages import ReceiveCommand
from resonate.workflow.registry import Registry
from resonate.workflow.signatures import signature_of

if TYPE_CHECKING:
    from resonate.workflow.composites.combinators import Settled, Several, TimedWait, Winner
    from resonate.workflow.composites.mapping import Map, MapResult
    from resonate.workflow.composites.saga import Saga

T = TypeVar("T")

Member = LFC[T] | LFI[T] | RFC[T] | RFI[T] | Promise[T] | PromiseCommand[T] | ReceiveCommand[T]
"""What a combinator takes: a promise, or a command that it begins."""
AnyMember = Command[Any] | Promise[Any]
"""The same for members of several types, or with a timer (`ctx.sleep`) among them."""


class Combining:
    """The part of `Context` for several promises."""

    __slots__ = ("_registry", "_state")
    _registry: Registry
    _state: CommandState
    begin_run: Callable[..., Any]
    begin_rpc: Callable[..., Any]

    @overload
    def all(self, members: Iterable[Member[T]], /, *, cancel_losers: bool = False) -> Several[list[T]]: ...
    @overload
    def all(self, *members: Member[T], cancel_losers: bool = False) -> Several[list[T]]: ...
    @overload
    def all(self, *, cancel_losers: bool = False, **named: Member[T]) -> Several[dict[str, T]]: ...
    @overload
    def all(self, *members: AnyMember, cancel_losers: bool = False) -> Several[list[Any]]: ...
    @overload
    def all(self, *, cancel_losers: bool = False, **named: AnyMember) -> Several[dict[str, Any]]: ...
    def all(self, *members: Any, cancel_losers: bool = False, **named: Any) -> Several[Any]:
        """Wait until all are resolved. The first error is raised at once.

            stock, price = yield ctx.all(ctx.run(read_stock, item), ctx.rpc("price", item))
            found = yield ctx.all(stock=ctx.run(read_stock, item), price=ctx.rpc("price", item))

        Args:
            members: promises (from `begin_run`, `begin_rpc`, `begin_sleep`, `promise`), or commands, which are begun;
                one by one, or as one iterable.
            named: the same by name, instead.
            cancel_losers: after an error, cancel what has not settled (see `cancel`). Otherwise it continues, and
                the workflow does not end before it.

        Returns:
            A command. Yield or await it for the list of the values in the order of the members; a dictionary if they
            have names.

        Raises:
            TypeError: a member is neither, or members are given in both ways.
        """
        return self._several("all", members, named, cancel_losers)

    @overload
    def all_settled(
        self, members: Iterable[Member[T]], /, *, cancel_losers: bool = False
    ) -> Several[list[Settled[T]]]: ...
    @overload
    def all_settled(self, *members: Member[T], cancel_losers: bool = False) -> Several[list[Settled[T]]]: ...
    @overload
    def all_settled(self, *, cancel_losers: bool = False, **named: Member[T]) -> Several[dict[str, Settled[T]]]: ...
    @overload
    def all_settled(self, *members: AnyMember, cancel_losers: bool = False) -> Several[list[Settled[Any]]]: ...
    @overload
    def all_settled(self, *, cancel_losers: bool = False, **named: AnyMember) -> Several[dict[str, Settled[Any]]]: ...
    def all_settled(self, *members: Any, cancel_losers: bool = False, **named: Any) -> Several[Any]:
        """Wait until all have settled, and raise no error of theirs.

        The arguments are those of `all`. `cancel_losers` has no effect.

        Returns:
            A command. Yield or await it for a `Settled` of each, with its value or its error.
        """
        return self._several("all_settled", members, named, cancel_losers)

    @overload
    def any(self, members: Iterable[Member[T]], /, *, cancel_losers: bool = False) -> Several[T]: ...
    @overload
    def any(self, *members: Member[T], cancel_losers: bool = False, **named: Member[T]) -> Several[T]: ...
    @overload
    def any(self, *members: AnyMember, cancel_losers: bool = False, **named: AnyMember) -> Several[Any]: ...
    def any(self, *members: Any, cancel_losers: bool = False, **named: Any) -> Several[Any]:
        """Wait until the first is resolved. Errors count only if all fail.

        The arguments are those of `all`.

        Returns:
            A command. Yield or await it for the value. If all fail, that raises an `ExceptionGroup` of their errors.

        Raises:
            ValueError: it gets no member.
        """
        return self._several("any", members, named, cancel_losers)

    @overload
    def race(self, members: Iterable[Member[T]], /, *, cancel_losers: bool = False) -> Several[Winner[T]]: ...
    @overload
    def race(self, *members: Member[T], cancel_losers: bool = False, **named: Member[T]) -> Several[Winner[T]]: ...
    @overload
    def race(self, *members: AnyMember, cancel_losers: bool = False, **named: AnyMember) -> Several[Winner[Any]]: ...
    def race(self, *members: Any, cancel_losers: bool = False, **named: Any) -> Several[Any]:
        """Wait until the first settles, with a value or an error.

            first = yield ctx.race(fast=ctx.rpc("fast", item), cheap=ctx.rpc("cheap", item), cancel_losers=True)
            print(first.name, first.value)

        The arguments are those of `all`. A `ctx.receive(name)` that is not the first takes no message.

        Returns:
            A command. Yield or await it for a `Winner`. If the first one fails, that raises its error.

        Raises:
            ValueError: it gets no member.
        """
        return self._several("race", members, named, cancel_losers)

    @overload
    def map(
        self,
        func: str,
        items: Iterable[Any],
        *,
        max_concurrency: int | None = None,
        tolerated_failures: float | None = None,
        remote: Literal[True],
    ) -> Map[MapResult[Any]]: ...
    @overload
    def map(
        self,
        func: Callable[[Any, Any], Generator[Any, Any, T]],
        items: Iterable[Any],
        *,
        max_concurrency: int | None = None,
        tolerated_failures: float | None = None,
        remote: bool = False,
    ) -> Map[MapResult[T]]: ...
    @overload
    def map(
        self,
        func: Callable[[Any, Any], Coroutine[Any, Any, T]],
        items: Iterable[Any],
        *,
        max_concurrency: int | None = None,
        tolerated_failures: float | None = None,
        remote: bool = False,
    ) -> Map[MapResult[T]]: ...
    @overload
    def map(
        self,
        func: Callable[[Any, Any], T],
        items: Iterable[Any],
        *,
        max_concurrency: int | None = None,
        tolerated_failures: float | None = None,
        remote: bool = False,
    ) -> Map[MapResult[T]]: ...
    def map(
        self,
        func: Callable[..., Any] | str,
        items: Iterable[Any],
        *,
        max_concurrency: int | None = None,
        tolerated_failures: float | None = None,
        remote: bool = False,
    ) -> Map[MapResult[Any]]:
        """Call `func(ctx, item)` for each item, with at most `max_concurrency` calls under way.

            result = yield ctx.map(resize, images, max_concurrency=20, tolerated_failures=0.05)
            result.raise_if_failed()

        A slot is filled as soon as it is free. All of it is one nested workflow: once it has ended, a replay reads one
        record.

        Args:
            func: a function as for `run`; with `remote` a function or a name as for `rpc`.
            items: the items, in the same order at each replay.
            max_concurrency: the largest number of calls under way; all at once by default.
            tolerated_failures: after more failures than this, no further item is begun, and those under way are waited
                for. A whole number is a count, a float from 0.0 to 1.0 a share of the items. All are tolerated by
                default.
            remote: whether the calls are remote calls.

        Returns:
            A command, with `.options(...)` for the calls. Yield or await it for a `MapResult`.

        Raises:
            TypeError, ValueError: an argument has the wrong type or value.
        """
        from resonate.workflow.composites.mapping import Map, limit_of, refuse_items, tolerated_of

        if isinstance(items, str) or not isinstance(items, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            refuse_items(items)
        listed = list(items)
        made = self._state.made
        begin: Callable[..., Any] = self.begin_rpc if remote else self.begin_run
        calls: list[LFI[Any] | RFI[Any]] = [begin(func, item) for item in listed]
        self._state.made = made + 1  # the calls are those of the nested workflow
        limit, tolerated = limit_of(max_concurrency, len(calls)), tolerated_of(tolerated_failures, len(calls))
        return Map(calls, self._annotation(calls), limit, tolerated)

    def _annotation(self, calls: list[LFI[Any] | RFI[Any]]) -> Any:
        """Return the type of the result of these calls, as far as it is known here."""
        if not calls:
            return Any
        (call, *_) = calls
        if isinstance(call, LFI):
            return signature_of(call.func).result
        try:
            return signature_of(self._registry.get(call.name, call.version).func).result
        except ValueError:
            return Any

    def wait(self, promise: Promise[T], *, timeout: Seconds) -> TimedWait[T]:
        """Wait for a promise for a limited time. After it the promise is left alone, and can be awaited again.

            try:
                answer = yield ctx.wait(approval, timeout=3600)
            except TimeoutError:
                yield ctx.run(remind, approval.id)

        Args:
            promise: the promise.
            timeout: the time limit, in seconds or as a `timedelta`.

        Returns:
            A command. Yield or await it for the value. After the time limit, that raises a `TimeoutError`.
        """
        from resonate.workflow.composites.combinators import TimedWait

        _require_promise("wait", promise)
        seconds = duration_s("timeout", timeout)
        self._state.made += 2  # a timer, and the wait
        return TimedWait(promise, seconds)

    def begin_sleep(self, secs: Seconds) -> BeginSleep:
        """Start a durable timer, and await it later: `timer = yield ctx.begin_sleep(60)`.

        Args:
            secs: the duration in seconds, or a `timedelta`.

        Returns:
            A command. Yield or await it for a `Promise`, which resolves with None.
        """
        seconds = duration_s("secs", secs)
        self._state.made += 1
        return BeginSleep(seconds)

    def cancel(self, promise: Promise[Any]) -> Cancel:
        """Cancel a call, timer or promise that this workflow has begun and does not need any more.

            reminder = yield ctx.begin_rpc("remind", order)
            yield ctx.cancel(reminder)

        A local call begins no further step. A remote call is cancelled like an execution. The workflow may end before
        it has ended. If the promise has settled, nothing happens. Awaiting a cancelled promise raises a
        `ResonateCanceledError`.

        Args:
            promise: the promise.

        Returns:
            A command. Yield or await it.
        """
        if not isinstance(promise, Promise):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentTypeError(
                f"ctx.cancel takes a promise, from ctx.begin_run(...) and the like, and not {promise!r:.80}"
            )
        return Cancel(promise)

    def saga(self) -> Saga:
        """Return a new saga: actions that are undone in reverse order if the workflow fails or is cancelled.

            saga = ctx.saga()
            yield saga.run(book_flight, trip, undo=(cancel_flight, trip))

        Undos are steps with retries of their own. See `Saga`.
        """
        from resonate.workflow.composites.saga import Saga

        saga = Saga(self)
        self._state.sagas += (saga,)
        return saga

    def _several(self, kind: Any, members: tuple[Any, ...], named: dict[str, Any], cancel_losers: bool) -> Any:
        from resonate.workflow.composites.combinators import several

        command = several(kind, members, named, cancel_losers=cancel_losers)
        self._state.made += 1
        return command


def _require_promise(method: str, promise: object) -> None:
    if not isinstance(promise, Promise):
        raise ArgumentTypeError(
            f"ctx.{method} takes a promise, from ctx.begin_run(...) and the like, and not {promise!r:.80}"
        )
