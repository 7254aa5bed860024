"""Methods of `Context` that wait for several promises, or cancel one. Their commands are loaded with the first use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from resonate.validation import Seconds, duration_s
from resonate.workflow.commands import LFC, LFI, RFC, RFI, BeginSleep, Cancel, Promise, PromiseCommand

if TYPE_CHECKING:
    from resonate.workflow.combinators import Settled, Several, TimedWait, Winner

T = TypeVar("T")

Member = LFC[T] | LFI[T] | RFC[T] | RFI[T] | Promise[T] | PromiseCommand[T]
"""What a combinator takes: a promise, or a command that it begins. A timer (`ctx.sleep`) is one too."""


class Combining:
    """The part of `Context` for several promises."""

    __slots__ = ()
    made: int

    @overload
    def all(self, members: Iterable[Member[T]], /, *, cancel_losers: bool = False) -> Several[list[T]]: ...
    @overload
    def all(self, *members: Member[T], cancel_losers: bool = False) -> Several[list[T]]: ...
    @overload
    def all(self, *, cancel_losers: bool = False, **named: Member[T]) -> Several[dict[str, T]]: ...
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
    def race(self, *members: Any, cancel_losers: bool = False, **named: Any) -> Several[Any]:
        """Wait until the first settles, with a value or an error.

            first = yield ctx.race(fast=ctx.rpc("fast", item), cheap=ctx.rpc("cheap", item), cancel_losers=True)
            print(first.name, first.value)

        The arguments are those of `all`.

        Returns:
            A command. Yield or await it for a `Winner`. If the first one fails, that raises its error.

        Raises:
            ValueError: it gets no member.
        """
        return self._several("race", members, named, cancel_losers)

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
        from resonate.workflow.combinators import TimedWait

        _require_promise("wait", promise)
        seconds = duration_s("timeout", timeout)
        self.made += 2  # a timer, and the wait
        return TimedWait(promise, seconds)

    def begin_sleep(self, secs: Seconds) -> BeginSleep:
        """Start a durable timer, and await it later: `timer = yield ctx.begin_sleep(60)`.

        Args:
            secs: the duration in seconds, or a `timedelta`.

        Returns:
            A command. Yield or await it for a `Promise`, which resolves with None.
        """
        seconds = duration_s("secs", secs)
        self.made += 1
        return BeginSleep(seconds)

    def cancel(self, promise: Promise[Any]) -> Cancel:
        """Cancel a call, timer or promise that this workflow has begun and does not need any more.

        A local call begins no further step. A remote call is cancelled like an execution. The workflow may end before
        it has ended. If the promise has settled, nothing happens. Awaiting a cancelled promise raises a
        `ResonateCanceledError`.

        Args:
            promise: the promise.

        Returns:
            A command. Yield or await it.
        """
        if not isinstance(promise, Promise):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"ctx.cancel takes a promise, from ctx.begin_run(...) and the like, and not {promise!r:.80}"
            )
        return Cancel(promise)

    def _several(self, kind: Any, members: tuple[Any, ...], named: dict[str, Any], cancel_losers: bool) -> Any:
        from resonate.workflow.combinators import several

        command = several(kind, members, named, cancel_losers=cancel_losers)
        self.made += 1
        return command


def _require_promise(method: str, promise: object) -> None:
    if not isinstance(promise, Promise):
        raise TypeError(f"ctx.{method} takes a promise, from ctx.begin_run(...) and the like, and not {promise!r:.80}")
