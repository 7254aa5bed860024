"""Continuation of an execution as a new history: what `ctx.continue_as` returns, and the context of a root.

Only the function of a task can continue: a task is what has a history. So a root has a context of its own kind, and
functions that it runs do not pay for it (docs/decisions/0081).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from msgspec import Struct

from resonate.encoders import Encoder
from resonate.errors import ProgramError
from resonate.payloads import codec
from resonate.workflow.context import Context, Info
from resonate.workflow.registry import Registry
from resonate.workflow.signatures import Signature, check
from resonate_store.model.ids import below
from resonate_store.model.records import Value


class ContinueAs(Struct, frozen=True):
    """What a workflow returns to end its history and to begin the next one: `return ctx.continue_as(...)`.

    Attributes:
        id: the id of the execution that continues.
        call: the function with its new arguments, as a payload.
    """

    id: str
    call: Value

    def __repr__(self) -> str:
        return f"<continuation of {self.id}>"

    def __await__(self) -> NoReturn:
        raise ProgramError("ctx.continue_as(...) is not awaited or yielded: write `return ctx.continue_as(...)`")


class Callee(Struct):
    """The function of an execution.

    Attributes:
        func, name, version: as it is registered.
        signature: its parameters and result.
        encoder: encodes its arguments, if the execution has one.
        refusal: why the execution cannot continue as a new history, or None if it can.
    """

    func: Callable[..., Any]
    name: str
    version: int
    signature: Signature
    encoder: Encoder[Any, str | None] | None
    refusal: str | None


class RootContext(Context):
    """The context of the function of a task. `context_of_root` makes it."""

    __slots__ = ("_callee",)
    _callee: Callee

    def _continuation(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ContinueAs:
        callee = self._callee
        if callee.refusal is not None:
            raise ProgramError(callee.refusal)
        signature = callee.signature
        if kwargs or not signature.least <= len(args) <= signature.most:
            check(callee.func, callee.name, args, kwargs)
        if callee.encoder is None:
            signature.check_values(callee.name, args, kwargs)
        self._state.continuing = True
        return ContinueAs(self._id, codec.encode_call(callee.name, args, kwargs, callee.version, callee.encoder))


def context_of_root(
    id: str, info: Info, registry: Registry, dependencies: Mapping[str, Any], callee: Callee
) -> RootContext:
    """Return the context of the function of a task.

    Args:
        id, info, registry, dependencies: as for `Context`.
        callee: the function.
    """
    stem = id + below(info.generation if info.generation > 1 else None)
    context = RootContext(id, info, registry, dependencies, None, stem)
    context._callee = callee  # pyright: ignore[reportPrivateUsage]
    return context
