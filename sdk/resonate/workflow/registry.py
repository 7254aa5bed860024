"""Registry of the functions that this process can run, by name and version.

A durable call names a function and a version, and the registry returns the code for it. Versions are positive numbers;
version 0 means the highest one that is registered here.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from msgspec import Struct

from resonate.encoders import Encoder
from resonate.errors.mistakes import (
    AlreadyRegisteredError,
    ArgumentValueError,
    MissingContextError,
    NotAFunctionError,
    NotRegisteredError,
)
from resonate.validation import similar
from resonate.workflow.callables import adapted, core_of, definition_of, name_of, refuse_called
from resonate.workflow.signatures import takes_context

if TYPE_CHECKING:
    from resonate.interceptors import Interceptor
    from resonate.retry_policies import RetryPolicy
    from resonate.workflow.options import PolicyFor

Workflow = Callable[..., Any]

MOST_NAMED = 20
"""Maximum number of registered functions that an error names."""
_ASYNC_GENERATOR = 0x200
"""The code flag of `async def` functions that yield (`inspect.CO_ASYNC_GENERATOR`)."""


class Registered(Struct, frozen=True):
    """A registered function.

    `validate` is whether arguments that do not fit its annotations are refused.
    """

    name: str
    func: Workflow
    version: int
    validate: bool = True


class Registry:
    """Functions by name and version.

    Attributes:
        encoders: by function name, the encoder of calls from other processes.
        interceptors: those of the program, if there are any.
        retry_policy: the program's default retry policy; see `Resonate`.
    """

    def __init__(self) -> None:
        self.encoders: dict[str, Encoder[Any, str | None]] = {}
        self.interceptors: tuple[Interceptor, ...] | None = None
        self.retry_policy: RetryPolicy | PolicyFor | None = None
        self._by_name: dict[str, dict[int, Registered]] = {}
        self._by_func: dict[Workflow | int, Registered] = {}

    def add(self, func: Workflow, name: str | None = None, version: int = 1, *, validate: bool = True) -> Registered:
        """Register a function.

        Args:
            func: the function.
            name: its name; the function's own by default.
            version: its version, 1 or more.
            validate: whether arguments that do not fit its annotations are refused.

        Raises:
            TypeError: it has no parameter for the context.
            ValueError: it is not a function, has no usable name, or the name or function is registered already.
        """
        given = _unwrapped(func)
        func = plain_function(given)
        if not takes_context(func):
            raise MissingContextError(
                f"{func.__name__} needs a first parameter that takes the context, such as `ctx: Context`"
            )
        if version <= 0:
            raise ArgumentValueError(f"provided version must be greater than zero, got {version}")
        if name is not None and not name:
            raise ArgumentValueError("name must not be empty: leave it out for the function's own")
        name = name or func.__name__
        if name == "<lambda>":
            raise NotAFunctionError('name required when registering a lambda function: register(..., name="double")')
        taken = self._by_func.get(_key(given)) or self._by_name.get(name, {}).get(version)
        if taken is not None:
            raise AlreadyRegisteredError(f"function {name} already registered: {_told(taken)}")
        registered = Registered(name, func, version, validate)
        self._by_name.setdefault(name, {})[version] = registered
        self._by_func[func] = self._by_func[_key(given)] = registered
        return registered

    def get(self, key: str | Workflow, version: int = 0) -> Registered:
        """Return the registered function for a name or a function.

        Raises:
            ValueError: it is not registered, or not in that version.
        """
        if isinstance(key, str):
            versions, name = self._by_name.get(key, {}), key
        else:
            if type(key) is types.FunctionType and (own := self._by_func.get(key)) and version in (0, own.version):
                return own
            refuse_called(key)
            known = self._by_func.get(_key(_unwrapped(key)))
            versions = {} if known is None else {known.version: known}
            name = name_of(key)
            if known is None and name in self._by_name:
                others = " and ".join(map(_told, self._by_name[name].values()))
                raise NotRegisteredError(
                    f"function {name} not found in registry: this one was not registered, {others}"
                )
        if not versions:
            known = f"it has {_listed(self.names())}" if self._by_name else "nothing is registered here"
            if not isinstance(key, str):
                advice = "; register it, @resonate.register, at the top of a module, so that each worker has it"
            else:
                advice = similar(name, self._by_name) or "; register it by @resonate.register in this program"
            raise NotRegisteredError(f"function {name} not found in registry: {known}{advice}")
        found = versions.get(version or max(versions))
        if found is None:
            known = ", ".join(map(str, sorted(versions)))
            raise NotRegisteredError(f"function {name} version {version} not found in registry: it has version {known}")
        return found

    def latest(self, key: str | Workflow) -> int:
        """Return the highest registered version, or 1 if the function is not registered here."""
        if isinstance(key, str):
            return max(self._by_name.get(key, {}), default=1)
        found = self._by_func.get(_key(_unwrapped(key)))
        return found.version if found else 1

    def versions(self, name: str) -> list[int]:
        """Return the registered versions of a function, sorted."""
        return sorted(self._by_name.get(name, {}))

    def version_of(self, func: Workflow) -> int:
        """Return the version that exactly this function is registered in, or 1."""
        found = self._by_func.get(func)
        return 1 if found is None else found.version

    def target_of(self, name: str, version: int, group: str | None, default: str) -> str:
        """Return the target of a remote call that names none.

        Args:
            name, version: the function that is called; version 0 is any.
            group: the worker group that the caller serves; None if it serves none.
            default: the target of functions that are not registered here.
        """
        versions = self._by_name.get(name)
        if group is None or not versions or (version and version not in versions):
            return default
        return group

    def plain(self, func: Any) -> types.FunctionType:
        """Return the plain function of `func`; for a registered one always the same. See `plain_function`."""
        if type(func) is not types.FunctionType:
            known = self._by_func.get(_key(_unwrapped(func)))
            if known is not None:
                return cast("types.FunctionType", known.func)
        return plain_function(func)

    def names(self) -> list[str]:
        """Return the registered names, sorted."""
        return sorted(self._by_name)


def plain_function(func: Any) -> types.FunctionType:
    """Return `func` itself, or a function that calls it: a bound method, a partial or an object with `__call__`.

    Raises:
        TypeError: it has no parameter for the context.
        ValueError: it is something else.
    """
    if type(func) is not types.FunctionType:
        func = _unwrapped(func)
        if not isinstance(func, types.FunctionType):
            if core_of(func).func.__code__.co_flags & _ASYNC_GENERATOR:
                plain_function(core_of(func).func)  # raises the error for async generators
            return adapted(func)
    if func.__code__.co_flags & _ASYNC_GENERATOR:
        raise NotAFunctionError(
            f"{func.__name__} is an async generator: an async function awaits its commands and yields nothing"
        )
    return func


def _key(func: Any) -> Any:
    """Return the key of a callable: itself for a function or method, else its `id`.

    A method is a new object at each access, but equal. Other objects may not be hashable.
    """
    return func if isinstance(func, (types.FunctionType, types.MethodType)) else id(func)


def _told(registered: Registered) -> str:
    """Return which function has a name, and where it is defined."""
    func = registered.func
    place = f"{func.__module__}.{func.__qualname__} ({definition_of(func)})"
    return f"{place} is version {registered.version} of {registered.name}"


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _unwrapped(func: Any) -> Any:
    """Return the function of a `resonate.client.function.Function`; anything else is returned as it is."""
    registered = getattr(func, "_registered", None)
    return registered.func if isinstance(registered, Registered) else func
