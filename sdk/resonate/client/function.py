"""Registered function: it can be called like the function, and starts executions of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, ParamSpec, TypeVar, Unpack, overload

from resonate.client.caller import Caller
from resonate.client.handle import Handle
from resonate.workflow.context import Context
from resonate.workflow.options import CallOptions, Options, by_name
from resonate.workflow.registry import Registered

P = ParamSpec("P")
T = TypeVar("T")
Y = TypeVar("Y")
S = TypeVar("S")
R_co = TypeVar("R_co", covariant=True)


class Function(Generic[P, R_co]):
    """Result of `Resonate.register`. A call of it calls the function directly; `run` and `rpc` start executions.

    It compares equal to the function and has the same hash. `P` are the function's parameters after its context. `R_co`
    is the result of a direct call: for a generator or async function, the generator or coroutine. `run` and `rpc` give
    the value that the function returns.

    Args:
        resonate: the client that it is registered with.
        registered: its entry in the registry.
    """

    def __init__(self, resonate: Caller, registered: Registered) -> None:
        functools.update_wrapper(self, registered.func)
        self._resonate = resonate
        self._registered = registered
        self._options = Options()

    @property
    def name(self) -> str:
        """Its registered name."""
        return self._registered.name

    @property
    def func(self) -> Callable[..., Any]:
        """The function itself."""
        return self._registered.func

    @property
    def version(self) -> int:
        """Its registered version."""
        return self._registered.version

    @property
    def resonate(self) -> Any:
        """The `Resonate` that it is registered with."""
        return self._resonate

    def __call__(self, ctx: Context, /, *args: P.args, **kwargs: P.kwargs) -> R_co:
        return self.func(ctx, *args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return self.func == (other.func if isinstance(other, Function) else other)  # pyright: ignore[reportUnknownMemberType]

    def __hash__(self) -> int:
        return hash(self.func)

    @by_name(lambda function: f"the function {function.name}", CallOptions)
    def options(self, **options: Unpack[CallOptions]) -> Function[P, R_co]:
        """Set options of the executions that this object starts, and return it.

        The options are explained in `CallOptions` and its base, in `resonate.workflow.options`. The `encoder` is also
        used for calls of this function by other processes.

        Raises:
            TypeError, ValueError: an option is unknown, or has the wrong type or value.
        """
        self._options = self._options.merge(**options)
        encoder = options.get("encoder")
        if encoder is not None:
            self._resonate.registry.encoders[self.name] = encoder
        return self

    @overload
    def run(self: Function[P, Generator[Y, S, T]], id: str, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def run(self: Function[P, Coroutine[Any, Any, T]], id: str, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def run(self: Function[P, T], id: str, *args: P.args, **kwargs: P.kwargs) -> T: ...
    def run(self, id: str, *args: Any, **kwargs: Any) -> Any:
        """Run it in this process and wait for its result: `greet.run("greet-ada", "ada")`. See `Resonate.run`."""
        return self._client().run(id, self.name, *args, **kwargs)

    @overload
    def begin_run(self: Function[P, Generator[Y, S, T]], id: str, *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...
    @overload
    def begin_run(
        self: Function[P, Coroutine[Any, Any, T]], id: str, *args: P.args, **kwargs: P.kwargs
    ) -> Handle[T]: ...
    @overload
    def begin_run(self: Function[P, T], id: str, *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...
    def begin_run(self, id: str, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Start it in this process and return a handle; see `Resonate.begin_run`."""
        return self._client().begin_run(id, self.name, *args, **kwargs)

    @overload
    def rpc(self: Function[P, Generator[Y, S, T]], id: str, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def rpc(self: Function[P, Coroutine[Any, Any, T]], id: str, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def rpc(self: Function[P, T], id: str, *args: P.args, **kwargs: P.kwargs) -> T: ...
    def rpc(self, id: str, *args: Any, **kwargs: Any) -> Any:
        """Run it on a worker and wait for its result; see `Resonate.rpc`."""
        return self._client().rpc(id, self._callee(), *args, **kwargs)

    @overload
    def begin_rpc(self: Function[P, Generator[Y, S, T]], id: str, *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...
    @overload
    def begin_rpc(
        self: Function[P, Coroutine[Any, Any, T]], id: str, *args: P.args, **kwargs: P.kwargs
    ) -> Handle[T]: ...
    @overload
    def begin_rpc(self: Function[P, T], id: str, *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...
    def begin_rpc(self, id: str, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Start it on a worker and return a handle; see `Resonate.begin_rpc`."""
        return self._client().begin_rpc(id, self._callee(), *args, **kwargs)

    def _callee(self) -> Any:
        """Return the function. If another version is called, return only the name: its parameters are not known."""
        return self.func if self._options.version in (None, self.version) else self.name

    def _client(self) -> Caller:
        options = self._options
        return self._resonate.options(
            attempt_timeout=options.attempt_timeout,
            encoder=options.encoder,
            idempotency_key=options.idempotency_key,
            retry_policy=options.retry_policy,
            tags=options.tags,
            target=options.target,
            timeout=options.timeout,
            version=options.version or self.version,
        )
