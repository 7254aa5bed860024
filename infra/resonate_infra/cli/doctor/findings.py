"""Findings of checks, what the checks share, and the loop that runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from resonate_infra.cli.session import Session
from resonate_infra.json_types import is_object
from resonate_store.model.clock import Clock
from resonate_store.remote.http import Calls

Level = Literal["ok", "warning", "error", "skipped"]
DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError")
"""Codes with which services of AWS refuse a call that the credentials do not permit."""


class Remark(NamedTuple):
    """Result of a check.

    Attributes:
        level: how bad it is.
        text: what was found.
        way: what to do about it.
        stops: whether checks that need this one are skipped.
    """

    level: Level
    text: str
    way: str = ""
    stops: bool = False


class Observation(NamedTuple):
    """Remark with the name of its check."""

    check: str
    level: Level
    text: str
    way: str = ""


def ok(text: str) -> Remark:
    return Remark("ok", text)


def warning(text: str, way: str, *, stops: bool = False) -> Remark:
    return Remark("warning", text, way, stops)


def error(text: str, way: str) -> Remark:
    return Remark("error", text, way, stops=True)


@dataclass
class Subject:
    """What is examined, and what earlier checks have found out about it.

    Attributes:
        session: the table or the server.
        stack: the name of the stack. A check finds it if it is not given.
        clock: the source of time.
        client: returns the boto3 client of a service.
        table: the description of the table.
        parameters: what the deployment has written to the parameter store, by the last part of the name.
        functions: the configurations of its functions, by name.
        server: the client of the server, which a check creates.
        answered: the Date header of an answer of AWS, and the instants (ms) around its request.
    """

    session: Session
    stack: str | None
    clock: Clock
    client: Callable[[str], Any]
    table: dict[str, Any] = field(default_factory=dict[str, Any])
    parameters: dict[str, str] = field(default_factory=dict[str, str])
    functions: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    answered: tuple[str, int, int] | None = None
    server: Calls | None = None


class Check(NamedTuple):
    """Check, and the names of the checks without which it is skipped."""

    name: str
    run: Callable[[Subject], Iterable[Remark]]
    needs: tuple[str, ...] = ()


def examine(subject: Subject, checks: Sequence[Check]) -> Iterator[Observation]:
    """Run checks one after another, and yield what they find."""
    stopped: set[str] = set()
    for name, run, needs in checks:
        missing = [need for need in needs if need in stopped]
        if missing:
            stopped.add(name)
            yield Observation(name, "skipped", f"needs {missing[0]}")
            continue
        for remark in _remarks(run, subject):
            if remark.stops:
                stopped.add(name)
            yield Observation(name, remark.level, remark.text, remark.way)


def _remarks(run: Callable[[Subject], Iterable[Remark]], subject: Subject) -> Iterator[Remark]:
    """Yield the remarks of a check. A refused or failed call of AWS is a remark too."""
    try:
        yield from run(subject)
    except Exception as raised:
        remark = _of_aws(raised)
        if remark is None:
            raise
        yield remark


def _of_aws(raised: Exception) -> Remark | None:
    code = code_of(raised)
    if code in DENIED:
        return warning(f"not checked: {raised}", "grant the permission to who runs the doctor", stops=True)
    if code or type(raised).__module__.startswith("botocore."):
        return error(str(raised), "see the message of AWS")
    return None


def code_of(raised: Exception) -> str:
    """Return the code of an error that a service of AWS has answered. It is empty for another error."""
    response: Any = getattr(raised, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if is_object(response) else ""
