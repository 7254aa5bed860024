"""Saga: steps that are undone in reverse order if the workflow fails or is cancelled.

An undo is owed from the moment its action begins, because an action that failed, or whose worker died, may have had its
effect. So an undo must bear that its action did not happen.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, Generic, Self, TypeVar, Unpack, cast

from msgspec.structs import replace

from resonate.errors.mistakes import ArgumentTypeError
from resonate.workflow.commands import LFC, RFC, Command, Composite, state_of
from resonate.workflow.options import RemoteOptions, RunOptions, by_name
from resonate_store.model.tags import UNDOES

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Undo = tuple[Any, ...] | Command[Any]
"""What undoes an action: a function and its arguments, which is run as a step, or a command such as `ctx.rpc(...)`."""


class SagaRun(Composite[T_co], Generic[T_co]):
    """Action of a saga that runs in this worker."""

    __slots__ = ("action", "context", "owed", "undo")
    kind = "run"

    def __init__(
        self, action: Command[T_co], owed: list[Command[Any]], undo: Command[Any] | None, context: Any
    ) -> None:
        super().__init__()
        self.action = action
        self.context = context
        self.owed = owed
        self.undo = undo

    def describe(self) -> str:
        return self.action.describe()

    @by_name(lambda command: command.describe(), RunOptions)
    def options(self, **options: Unpack[RunOptions]) -> Self:
        """Set options of the action, and return this command; see `RunOptions`."""
        cast("LFC[T_co]", self.action).options(**options)
        return self

    def steps(self) -> Generator[Any, Any, T_co]:
        undo = self.undo
        if undo is not None:
            if isinstance(undo, LFC | RFC):  # a fork has to know what was undone
                opts = undo.opts
                undo.opts = replace(opts, tags={**(opts.tags or {}), UNDOES: str(state_of(self.context).count + 1)})
            self.owed.append(undo)
        return (yield self.action)


class SagaCall(SagaRun[T_co]):
    """Action of a saga that a worker of its target runs."""

    __slots__ = ()
    kind = "rpc"

    @by_name(lambda command: command.describe(), RemoteOptions)
    def options(self, **options: Unpack[RemoteOptions]) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Set options of the action, and return this command; see `RemoteOptions`."""
        cast("RFC[T_co]", self.action).options(**options)
        return self


class Compensation(Composite[None]):
    """Run what undoes the actions of some sagas, the latest first.

    A cancellation of the execution waits until then. Otherwise it would interrupt an undo that may have had its effect.

    Args:
        owed: the undos of each saga, which are removed.
        error: the error that left the workflow, if there is one. It is raised afterwards.
    """

    __slots__ = ("error", "owed")
    kind = "run"
    shielded = True

    def __init__(self, owed: Sequence[list[Command[Any]]], error: BaseException | None = None) -> None:
        super().__init__()
        self.owed = owed
        self.error = error

    def steps(self) -> Generator[Any, Any, None]:
        failures: list[Exception] = []
        many = 0
        for owed in reversed(self.owed):
            while owed:
                many += 1
                try:
                    yield owed.pop()
                except Exception as failure:
                    failures.append(failure)
        if failures:
            raise ExceptionGroup(f"{len(failures)} of {many} compensations failed", failures) from self.error
        if self.error is not None:
            raise self.error


class Saga:
    """Actions of a workflow, each with what undoes it::

        saga = ctx.saga()
        flight = yield saga.run(book_flight, trip, undo=(cancel_flight, trip))
        hotel = yield saga.rpc("book_hotel", trip, undo=ctx.rpc("cancel_hotel", trip))

    If an error or a cancellation leaves the workflow, the undos of the actions that have begun are run, the latest
    first. Each is a step with its own retries. If some of them fail, the others are still run, and the workflow fails
    with an `ExceptionGroup` of their errors, whose cause is the error that left the workflow. A workflow that returns
    undoes nothing, and neither does one whose deadline passes.

    Args:
        context: the context of the workflow.
    """

    __slots__ = ("_context", "owed")

    def __init__(self, context: Any) -> None:
        self._context = context
        self.owed: list[Command[Any]] = []

    def run(self, func: Callable[..., Any], *args: Any, undo: Undo | None = None, **kwargs: Any) -> SagaRun[Any]:
        """Run an action in this worker, as `ctx.run` does.

        Args:
            func: the action.
            args, kwargs: its arguments.
            undo: what undoes it: a function and its arguments, or a command. None if nothing does.

        Returns:
            A command, with `.options(...)` for the action. Yield or await it for the result.

        Raises:
            TypeError: `undo` is neither.
        """
        undoing = self._undoing(undo)
        return SagaRun(self._context.run(func, *args, **kwargs), self.owed, undoing, self._context)

    def rpc(self, func: Callable[..., Any] | str, *args: Any, undo: Undo | None = None, **kwargs: Any) -> SagaCall[Any]:
        """Run an action on a worker of its target, as `ctx.rpc` does. The arguments are those of `run`."""
        undoing = self._undoing(undo)
        call: RFC[Any] = self._context.rpc(func, *args, **kwargs)
        return SagaCall(call, self.owed, undoing, self._context)

    def compensate(self) -> Compensation:
        """Undo the actions that have begun, the latest first, and continue the workflow.

        Returns:
            A command. Yield or await it. If some undos fail, that raises an `ExceptionGroup` of their errors.
        """
        return Compensation([self.owed])

    def _undoing(self, undo: Undo | None) -> Command[Any] | None:
        """Return the command that undoes an action. It counts as made when it is yielded."""
        if undo is None:
            return None
        state = state_of(self._context)
        made = state.made
        if isinstance(undo, Command):
            state.made -= 1  # it is yielded only if the workflow fails
            return undo
        if not isinstance(undo, tuple) or not undo:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentTypeError(
                f"undo takes a function and its arguments, (func, *args), or a command, and not {undo!r:.80}"
            )
        func, *args = undo
        command = self._context.run(func, *args)
        state.made = made
        return command
