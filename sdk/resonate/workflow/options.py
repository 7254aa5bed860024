"""What a call may be told besides its arguments.

`Options` holds only what was set; a default fills the rest when the call is issued, because it may depend on the
function (docs/protocol.md 5.4). Timeouts are durations in seconds.
"""

import functools
import inspect
import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Self, TypedDict, TypeVar, cast

from msgspec import Struct
from msgspec.structs import asdict, replace

from resonate.encoders import Encoder
from resonate.retry_policies import RetryPolicy
from resonate.validation import YEAR_S, Seconds, warn_of_milliseconds
from resonate_store.model.records import CatchUp, Overlap

PolicyFor = Callable[[Callable[..., Any]], RetryPolicy]
"""Chooses the retry policy of a function."""
DEFAULT_TIMEOUT = 31_536_000.0
"""A year, in seconds."""
DEFAULT_TARGET = "default"
"""The worker group that serves a remote call which names none."""


class StartOptions(TypedDict, total=False):
    """Options of every execution and call.

    Attributes:
        tags: kept with the promise.
        target: a worker group or an address.
        timeout: a number of seconds, or a `timedelta`.
        version: the version of the function.
    """

    tags: dict[str, str] | None
    target: str | None
    timeout: Seconds | None
    version: int | None


class CallOptions(StartOptions, total=False):
    """Options of a call that a program makes through a client.

    Attributes:
        encoder: writes arguments and results in the place of JSON.
        idempotency_key: the key of the creation, or a function that makes it from the promise's id.
        retry_policy: the policy of the called function, or a function that chooses it.
    """

    encoder: Encoder[Any, str | None] | None
    idempotency_key: str | Callable[[str], str] | None
    retry_policy: RetryPolicy | PolicyFor | None


class ScheduleOptions(CallOptions, total=False):
    """Options of a call or a schedule.

    Attributes:
        catch_up: which missed occurrences are created later: "all", the "latest" or "none".
        overlap: "skip" leaves an occurrence out while the promise of the previous one is pending; else "allow".
        timezone: the IANA time zone of the cron expression; UTC if not given.
    """

    catch_up: CatchUp | None
    overlap: Overlap | None
    timezone: str | None


class RunOptions(TypedDict, total=False):
    """Options of a function that a workflow runs here: `ctx.run` and `ctx.begin_run`.

    Attributes:
        durable: whether the outcome is recorded; it is if not given.
        encoder: writes and reads the outcome, instead of JSON.
        id: the id of the promise; made from the workflow's id if not given.
        idempotency_key: what a repeated call is recognised by, or a function that makes it of the id.
        non_retryable_exceptions: errors of these types, and not of subclasses, are final.
        retry_policy: whether and when the function is called again after an error, or what chooses that by function.
        tags: kept with the promise.
        timeout: seconds, or a `timedelta`, after which the workflow gets a `ResonateTimedoutError`.
    """

    durable: bool | None
    encoder: Encoder[Any, str | None] | None
    id: str | None
    idempotency_key: str | Callable[[str], str] | None
    non_retryable_exceptions: tuple[type[BaseException], ...] | None
    retry_policy: RetryPolicy | PolicyFor | None
    tags: dict[str, str] | None
    timeout: Seconds | None


class RemoteOptions(TypedDict, total=False):
    """Options of a command whose promise is settled elsewhere: `ctx.rpc`, `ctx.promise`, `ctx.sleep` and others.

    Attributes:
        encoder: writes the arguments and reads the outcome, instead of JSON.
        id: the id of the promise; made from the workflow's id if not given.
        idempotency_key: what a repeated call is recognised by, or a function that makes it of the id.
        tags: kept with the promise.
        target: a worker group, or an address; of no effect where no function is called.
        timeout: seconds, or a `timedelta`, after which the promise is rejected.
        version: the version of the function; of no effect where no function is called.
    """

    encoder: Encoder[Any, str | None] | None
    id: str | None
    idempotency_key: str | Callable[[str], str] | None
    tags: dict[str, str] | None
    target: str | None
    timeout: Seconds | None
    version: int | None


class Options(Struct, frozen=True, kw_only=True):
    """The options of one call; None means "not set"."""

    catch_up: str | None = None
    durable: bool | None = None
    encoder: Encoder[Any, str | None] | None = None
    id: str | None = None
    idempotency_key: str | Callable[[str], str] | None = None
    non_retryable_exceptions: tuple[type[BaseException], ...] | None = None
    overlap: str | None = None
    retry_policy: RetryPolicy | PolicyFor | None = None
    tags: dict[str, str] | None = None
    target: str | None = None
    timeout: float | None = None
    timezone: str | None = None
    version: int | None = None

    def merge(self, **changes: Any) -> Self:
        """These options with every change that is not None.

        Raises:
            TypeError: an option is unknown or has the wrong type.
            ValueError: a timeout or version is negative, or a text is empty.
        """
        given = {name: value for name, value in sorted(changes.items()) if value is not None}
        timeout = given.get("timeout")
        unit = isinstance(timeout, timedelta)
        if isinstance(timeout, timedelta):
            given["timeout"] = timeout.total_seconds()
        for name, value in given.items():
            _check(name, value)
        if timeout is not None and not unit and given["timeout"] > YEAR_S:
            warn_of_milliseconds("timeout", given["timeout"])
        return replace(self, **given)

    def key_for(self, id: str) -> str | None:
        """The idempotency key of the promise `id`, if one is set; a key may be made of the id."""
        key = self.idempotency_key
        return key(id) if callable(key) else key

    def policy_for(self, func: Callable[..., Any]) -> RetryPolicy | None:
        """The retry policy of a call of `func`, if one is set; it may be chosen by the function.

        Raises:
            TypeError: what was to choose it gave something else.
        """
        policy = self.retry_policy
        if policy is None or isinstance(policy, RetryPolicy):
            return policy
        chosen: Any = policy(func)
        if isinstance(chosen, type) or not isinstance(chosen, RetryPolicy):
            raise TypeError(f"retry_policy must give a `RetryPolicy` for {func.__name__}, got {chosen!r:.80}")
        return chosen

    def over(self, defaults: Self) -> Self:
        """These options, and those of `defaults` where nothing is set."""
        mine = {name: value for name, value in asdict(self).items() if value is not None}
        return replace(defaults, **mine) if mine else defaults


UNSET = Options()
"""What most calls are told: nothing."""

_TYPES: dict[str, tuple[Any, str]] = {
    "catch_up": (str, "str"),
    "durable": (bool, "bool"),
    "encoder": (Encoder, "Encoder"),
    "id": (str, "str"),
    "idempotency_key": (str, "str"),
    "non_retryable_exceptions": (tuple, "tuple"),
    "overlap": (str, "str"),
    "retry_policy": (RetryPolicy, "RetryPolicy"),
    "tags": (dict, "dict"),
    "target": (str, "str"),
    "timeout": ((int, float), "float"),
    "timezone": (str, "str"),
    "version": (int, "int"),
}


_NOT_EMPTY = ("id", "idempotency_key", "target")


def _check(name: str, value: Any) -> None:
    if name not in _TYPES:
        raise TypeError(f"unknown option {name!r}: the options are {', '.join(_TYPES)}")
    expected, shown = _TYPES[name]
    given = cast("object", value)  # narrowing it would leave types that make no sense
    if isinstance(given, type):
        raise TypeError(f"{name} must be `{shown}`, got the class {given.__name__}")
    if name in ("idempotency_key", "retry_policy") and callable(given):
        return
    if not isinstance(given, expected) or (isinstance(given, bool) and name in ("timeout", "version")):
        raise TypeError(f"{name} must be `{shown}`, got {type(given).__name__}")
    if name in _NOT_EMPTY and not value:
        raise ValueError(f"{name} must not be empty: leave it out for the default")
    if name == "non_retryable_exceptions":
        for kind in cast("tuple[Any, ...]", value):
            if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                raise TypeError(f"non_retryable_exceptions must be exception types, got {kind!r}")
    if name == "tags":
        tags = cast("dict[Any, Any]", value)
        if not all(isinstance(part, str) for part in (*tags, *tags.values())):
            raise TypeError(f"tags must map `str` to `str`, got {tags!r}")
    if name in ("timeout", "version") and not 0 <= value < math.inf:
        wanted = "greater than or equal to zero" if value < 0 else "finite and greater than or equal to zero"
        raise ValueError(f"{name} must be {wanted}, got {value}")


Method = TypeVar("Method", bound=Callable[..., Any])


def by_name(owner: Callable[[Any], str], kind: type) -> Callable[[Method], Method]:
    """Have a method `options` refuse an option that it does not know by name, and list those that it does.

    Args:
        owner: says of the method's object whose options they are.
        kind: the `TypedDict` of the options.
    """
    known = sorted(kind.__annotations__)
    of = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind.__annotations__[name])
        for name in known
    ]

    def decorate(method: Method) -> Method:
        @functools.wraps(method)
        def options(self: Any, *args: Any, **given: Any) -> Any:
            if args:
                raise TypeError("options are given by name, such as options(timeout=5)")
            if any(name not in known for name in given):
                unknown = ", ".join(map(repr, (name for name in given if name not in known)))
                raise TypeError(f"unknown option {unknown} of {owner(self)}: its options are {', '.join(known)}")
            return method(self, **given)

        # `help` and editors show the options by name.
        vars(options)["__signature__"] = inspect.Signature([of, *named])
        return cast("Method", options)

    return decorate
