"""Options of calls: what is set besides the arguments.

`Options` holds only what was set. Defaults are added when the call is issued, because they may depend on the function
(docs/protocol.md 5.4).
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
from resonate.errors.mistakes import ArgumentTypeError, ArgumentValueError, UnknownOptionError
from resonate.retry_policies import RetryPolicy
from resonate.validation import YEAR_S, Seconds, warn_of_milliseconds
from resonate_store.model.records import END_OF_TIME, CatchUp, Overlap

PolicyFor = Callable[[Callable[..., Any]], RetryPolicy]
"""A function that returns the retry policy of a function."""
DEFAULT_TIMEOUT = 31_536_000.0
"""A year, in seconds."""
NEVER_S = END_OF_TIME / 1000
"""The timeout (s) of a promise that never times out: `math.inf`, as it is stored."""
DEFAULT_TARGET = "default"
"""The worker group of remote calls without a target."""


class StartOptions(TypedDict, total=False):
    """Options of every execution and call.

    Attributes:
        tags: a `dict` of `str`, stored with the promise.
        target: the worker group or address that runs the call; by default the group of this process if the function is
            registered here, else "default".
        timeout: the time until the promise times out, in seconds or as a `timedelta`; a year by default, and for None.
            `math.inf` means never.
        version: the version of the function; by default the latest that is registered here, or 1.
    """

    tags: dict[str, str] | None
    target: str | None
    timeout: Seconds | None
    version: int | None


class CallOptions(StartOptions, total=False):
    """Options of a call that a client makes, besides those of `StartOptions`.

    Attributes:
        attempt_timeout: the longest time of one attempt of a function that issues no commands; see `RunOptions`. It has
            an effect in the process that starts the execution and runs it, as `retry_policy` has.
        encoder: encodes the arguments and decodes the result, instead of JSON. The worker needs the same encoder.
        idempotency_key: the key of the creation, or a function that returns it for the promise's id; the id by default.
        retry_policy: the retry policy of the called function, or a function that returns it for that function. The
            default is the one of `Resonate`.
    """

    attempt_timeout: Seconds | None
    encoder: Encoder[Any, str | None] | None
    idempotency_key: str | Callable[[str], str] | None
    retry_policy: RetryPolicy | PolicyFor | None


class ScheduleOptions(CallOptions, total=False):
    """Options of a client, besides those of `CallOptions`. These have an effect on schedules only.

    Attributes:
        catch_up: which missed occurrences are created later: "all" in order (the default), the "latest", or "none".
        overlap: "skip" leaves an occurrence out while the promise of the previous one is pending; "allow" by default.
        timezone: the IANA time zone of the cron expression; UTC by default.
    """

    catch_up: CatchUp | None
    overlap: Overlap | None
    timezone: str | None


class RunOptions(TypedDict, total=False):
    """Options of a function that a workflow runs in its worker: `ctx.run` and `ctx.begin_run`.

    Attributes:
        at_most_once: whether an attempt is marked before it begins, so that no other worker repeats it. If a worker
            dies during the attempt, the workflow gets a `StepInterrupted`. Only for steps. The step is retried only if
            the call has a `retry_policy`.
        attempt_timeout: the longest time of one attempt of a step, in seconds or as a `timedelta`. An attempt that
            takes longer has failed with an `AttemptTimeout`, and is retried as the retry policy says.
        durable: whether the outcome is recorded; True by default. If not, replay may call the function again.
        encoder: encodes and decodes the outcome, instead of JSON.
        id: the id of the promise; by default derived from the workflow's id. An `id` makes it the root of a tree of its
            own (docs/rules.md R7).
        idempotency_key: the key of the promise, or a function that returns it for the id; the id by default.
        non_retryable_exceptions: a tuple of exception types that are final. Subclasses are not included.
        retry_policy: whether and when the function is called again after an error, or a function that returns the
            policy. By default steps are retried with `Exponential()`, and workflows are not; see `Resonate`.
        tags: a `dict` of `str`, stored with the promise.
        timeout: the time after which the workflow gets a `ResonateTimedoutError`, in seconds or as a `timedelta`; a
            year by default, and never after the workflow's own deadline.
    """

    at_most_once: bool | None
    attempt_timeout: Seconds | None
    durable: bool | None
    encoder: Encoder[Any, str | None] | None
    id: str | None
    idempotency_key: str | Callable[[str], str] | None
    non_retryable_exceptions: tuple[type[BaseException], ...] | None
    retry_policy: RetryPolicy | PolicyFor | None
    tags: dict[str, str] | None
    timeout: Seconds | None


class RemoteOptions(TypedDict, total=False):
    """Options of a command that this worker's task does not settle: `ctx.rpc`, `ctx.promise`, `ctx.sleep` and the like.

    For a sleep, only `id` has an effect.

    Attributes:
        encoder: encodes the arguments and decodes the outcome, instead of JSON.
        id: the id of the promise; by default derived from the workflow's id. An `id` makes it the root of a tree of its
            own (docs/rules.md R7).
        idempotency_key: the key of the promise, or a function that returns it for the id; the id by default.
        tags: a `dict` of `str`, stored with the promise.
        target: the worker group or address that runs the call. Without effect if no function is called.
        timeout: the time until the promise times out, in seconds or as a `timedelta`; a year by default, and never
            after the workflow's own deadline.
        version: the version of the function; by default the latest that is registered here, or 1. Without effect if no
            function is called.
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

    at_most_once: bool | None = None
    attempt_timeout: float | None = None
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
        """Return these options with every change that is not None.

        Raises:
            TypeError: an option is unknown or has the wrong type.
            ValueError: a timeout or version is negative, an attempt timeout is not positive, or a text is empty.
        """
        given = {name: value for name, value in sorted(changes.items()) if value is not None}
        numbers: list[str] = []
        for name in _DURATIONS:
            if isinstance(duration := given.get(name), timedelta):
                given[name] = duration.total_seconds()
            elif duration == math.inf and name == "timeout":
                given[name] = NEVER_S
            elif duration is not None:
                numbers.append(name)
        for name, value in given.items():
            _check(name, value)
        for name in numbers:
            if given[name] > YEAR_S:
                warn_of_milliseconds(name, given[name])
        return replace(self, **given)

    def key_for(self, id: str) -> str | None:
        """Return the idempotency key of the promise `id`, or None if it is not set."""
        key = self.idempotency_key
        return key(id) if callable(key) else key

    def policy_for(self, func: Callable[..., Any]) -> RetryPolicy | None:
        """Return the retry policy of a call of `func`, or None if it is not set.

        Raises:
            TypeError: the function that chooses the policy returned something else.
        """
        policy = self.retry_policy
        if policy is None or isinstance(policy, RetryPolicy):
            return policy
        chosen: Any = policy(func)
        if isinstance(chosen, type) or not isinstance(chosen, RetryPolicy):
            raise ArgumentTypeError(f"retry_policy must give a `RetryPolicy` for {func.__name__}, got {chosen!r:.80}")
        return chosen

    def over(self, defaults: Self) -> Self:
        """Return these options, with those of `defaults` where nothing is set."""
        mine = {name: value for name, value in asdict(self).items() if value is not None}
        return replace(defaults, **mine) if mine else defaults


UNSET = Options()
"""The options of most calls: nothing is set."""

_TYPES: dict[str, tuple[Any, str]] = {
    "at_most_once": (bool, "bool"),
    "attempt_timeout": ((int, float), "float"),
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


_DURATIONS = ("attempt_timeout", "timeout")
_NUMBERS = (*_DURATIONS, "version")
_ADVICE = {
    "attempt_timeout": ": give seconds, or a timedelta",
    "retry_policy": ": give a policy of resonate.retry_policies, such as Constant(delay=2, max_retries=5)",
    "timeout": ": give seconds, or a timedelta",
}
_SCHEMES = ("arn", "http", "https", "lambda", "poll")
_NOT_EMPTY = ("id", "idempotency_key", "target")


def _check(name: str, value: Any) -> None:
    if name not in _TYPES:
        raise UnknownOptionError(f"unknown option {name!r}: the options are {', '.join(_TYPES)}")
    expected, shown = _TYPES[name]
    given = cast("object", value)  # so that the type checker does not narrow `value`
    if isinstance(given, type):
        advice = f": write {given.__name__}(...)" if isinstance(expected, type) and hasattr(given, "next") else ""
        raise ArgumentTypeError(f"{name} must be `{shown}`, got the class {given.__name__}{advice}")
    if name in ("idempotency_key", "retry_policy") and callable(given):
        return
    if not isinstance(given, expected) or (isinstance(given, bool) and name in _NUMBERS):
        raise ArgumentTypeError(f"{name} must be `{shown}`, got {type(given).__name__}{_ADVICE.get(name, '')}")
    if name == "target" and (scheme := value.partition(":")[0]) in _SCHEMES and "://" not in value:
        raise ArgumentValueError(
            f"target {value!r} is not an address: write {scheme}://... for an address, or the name of a worker group"
        )
    if name in _NOT_EMPTY and not value:
        raise ArgumentValueError(f"{name} must not be empty: leave it out for the default")
    if name == "non_retryable_exceptions":
        for kind in cast("tuple[Any, ...]", value):
            if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                raise ArgumentTypeError(f"non_retryable_exceptions must be exception types, got {kind!r}")
    if name == "tags":
        tags = cast("dict[Any, Any]", value)
        if not all(isinstance(part, str) for part in (*tags, *tags.values())):
            raise ArgumentTypeError(f"tags must map `str` to `str`, got {tags!r}")
    if name == "attempt_timeout" and not 0 < value < math.inf:
        raise ArgumentValueError(f"attempt_timeout must be a finite number of seconds above zero, got {value}")
    if name in ("timeout", "version") and not 0 <= value < math.inf:
        wanted = "greater than or equal to zero" if value < 0 else "finite and greater than or equal to zero"
        raise ArgumentValueError(f"{name} must be {wanted}, got {value}")


Method = TypeVar("Method", bound=Callable[..., Any])


def by_name(owner: Callable[[Any], str], kind: type) -> Callable[[Method], Method]:
    """Return a decorator of a method `options`. It refuses an unknown option with an error that lists the known ones.

    Args:
        owner: gets the object of the method and returns its name for the error.
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
                raise ArgumentTypeError("options are given by name, such as options(timeout=5)")
            if any(name not in known for name in given):
                unknown = ", ".join(map(repr, (name for name in given if name not in known)))
                raise UnknownOptionError(
                    f"unknown option {unknown} of {owner(self)}: its options are {', '.join(known)}"
                )
            return method(self, **given)

        # `help` and editors show the options by name.
        vars(options)["__signature__"] = inspect.Signature([of, *named])
        return cast("Method", options)

    return decorate
