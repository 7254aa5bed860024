"""Interceptors: code that a program runs around its calls, and headers that calls pass on.

    class Tenants(Interceptor):
        def outbound(self, call: OutboundCall) -> None:
            call.headers.setdefault("tenant", tenant.get())

        @contextmanager
        def inbound(self, call: InboundCall) -> Generator[None]:
            tenant.set(call.headers.get("tenant", ""))
            yield

    resonate = Resonate(interceptors=[Tenants()])

A header is a name and a text. It is stored as a tag of the promise of an execution, before the execution begins. So
each attempt and each replay of it sees the same headers, as `ctx.info.headers`. Steps and nested workflows see those of
their execution. Remote calls inherit them, also if no interceptor is registered (docs/interceptors.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from resonate_store.model.requests import PromiseCreate
from resonate_store.model.tags import FUNC, HEADER, TARGET

NO_HEADERS: Mapping[str, str] = MappingProxyType({})
"""The headers of a call that has none."""
MAX_HEADERS_BYTES = 8192
"""The largest size (bytes) of all names and texts of a call's headers. Every remote call below it stores them again."""
_RESERVED = "resonate:"


class OutboundCall(Struct, eq=False):
    """An execution that is about to be created, by a client or by a remote call of a workflow.

    Attributes:
        id: the id of its promise.
        function: the name of the function that it calls.
        target: the address of its worker.
        caller: the id of the workflow that calls it; None if a client starts it.
        headers: its headers. In a workflow they begin as those of the workflow. An interceptor may change them.
        tags: the tags that the program gives it. An interceptor may change them.
    """

    id: str
    function: str
    target: str
    caller: str | None
    headers: dict[str, str]
    tags: dict[str, str]


class InboundCall(Struct, frozen=True, eq=False):
    """An attempt of a function that is about to run in this process.

    Attributes:
        id: the id of its promise, `ctx.id`.
        execution_id: the id of the root of the execution.
        function: its name.
        kind: "step", "workflow" (a generator function), or "async": that is a step until it awaits a command.
        attempt: the number of the attempt, from 1.
        headers: the headers of its execution, read only.
        tags: the tags of its promise, read only.
        replaying: whether a workflow begins to repeat what an earlier invocation has done.
    """

    id: str
    execution_id: str
    function: str
    kind: Literal["step", "workflow", "async"]
    attempt: int
    headers: Mapping[str, str]
    tags: Mapping[str, str]
    replaying: bool


class Interceptor:
    """Base of interceptors. Each method does nothing by default.

    A process calls the methods from several threads. The first interceptor of `Resonate(interceptors=[...])` is the
    outermost one.
    """

    def outbound(self, call: OutboundCall) -> None:
        """Change the headers or tags of an execution before it is created.

        A worker calls this only for a call that is not recorded. If the execution exists already, its headers and tags
        stay as they are. An error that this raises is raised in a client. In a worker it is an `InterceptorError`: the
        task is released, and tried again later.

        Args:
            call: the execution.
        """

    def inbound(self, call: InboundCall) -> AbstractContextManager[Any] | None:  # noqa: ARG002 - for subclasses
        """Return a context manager that is entered around an attempt of a function, or None.

        For a step it is entered around each attempt. For a workflow it is entered whenever a process begins to run the
        workflow, also to replay it, and is left with a `GeneratorExit` when the workflow is suspended. It is not
        entered for a step whose outcome is recorded.

        Contextvars that it sets are seen by the function, and by nothing else. It gets the error of the function, and
        cannot suppress it. An error of its own is an error of the attempt if the function is a step. Around a workflow
        it is an `InterceptorError`, as in `outbound`.

        Args:
            call: the attempt.
        """
        return None


def checked(interceptors: Sequence[Interceptor]) -> tuple[Interceptor, ...]:
    """Return the interceptors of a program.

    Raises:
        TypeError: one of them is not an `Interceptor`.
    """
    for each in interceptors:
        if not isinstance(each, Interceptor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"interceptors must be objects of `Interceptor`, got {each!r:.80}")
    return tuple(interceptors)


def headers_of(tags: Mapping[str, str]) -> Mapping[str, str]:
    """Return the headers in the tags of a promise, read only."""
    found = {name.removeprefix(HEADER): text for name, text in tags.items() if name.startswith(HEADER)}
    return MappingProxyType(found) if found else NO_HEADERS


def tags_of_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that store these headers."""
    return {f"{HEADER}{name}": text for name, text in headers.items()}


def prepared(
    interceptors: Sequence[Interceptor] | None, creation: PromiseCreate, caller: str | None = None
) -> PromiseCreate:
    """Return the creation of an execution, as the interceptors have changed it.

    Args:
        interceptors: those of the program, if there are any.
        creation: the creation of its promise.
        caller: the id of the workflow that calls it.

    Raises:
        TypeError, ValueError: a header or tag is not a text, has no name, or the headers are too large.
    """
    if interceptors is None:
        return creation
    tags = creation.tags
    own = {name: text for name, text in tags.items() if not name.startswith(_RESERVED)}
    call = OutboundCall(creation.id, tags[FUNC], tags[TARGET], caller, dict(headers_of(tags)), own)
    for interceptor in interceptors:
        interceptor.outbound(call)
        _check(interceptor, "headers", call.headers)
        _check(interceptor, "tags", call.tags)
    size = sum(len(text.encode(errors="surrogatepass")) for header in call.headers.items() for text in header)
    if size > MAX_HEADERS_BYTES:
        raise ValueError(
            f"the headers of {creation.id} have {size} bytes, and {MAX_HEADERS_BYTES} is the limit: every remote call"
            " stores them, so pass large data as an argument"
        )
    reserved = {name: text for name, text in tags.items() if name.startswith(_RESERVED) and not name.startswith(HEADER)}
    return replace(creation, tags={**call.tags, **tags_of_headers(call.headers), **reserved})


def _check(interceptor: Interceptor, what: str, texts: Mapping[Any, Any]) -> None:
    for name, text in texts.items():
        if not (isinstance(name, str) and isinstance(text, str)):
            wanted = f"{type(interceptor).__name__} must set {what} of `str` to `str`"
            raise TypeError(f"{wanted}, got {name!r}: {text!r:.80}")
        if not name:
            raise ValueError(f"{type(interceptor).__name__} has set one of the {what} without a name: {text!r:.80}")
