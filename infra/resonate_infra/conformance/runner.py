"""Interpreter of the scripts. It sends request bodies through a function that returns status and body.

The time is either the script's or the server's:

- With debug requests, the script sets the time. The runner empties and stops the server, and each request contains its
  time. So every response is known in advance.
- Without debug requests, the server has its own time. Any instant that the server chooses is accepted, and scripts that
  move the time are omitted. Each run puts its own prefix before all ids, so that it finds only its own records.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from resonate_infra.conformance.matching import Mismatch, difference, shown
from resonate_infra.conformance.script import Any_, At, Each, Has, Kept, Long, Now, Number, Script, Step, Text
from resonate_infra.json_types import is_list, is_object
from resonate_store.protocol.wire import KINDS, TIME, VERSION

_ENTRY: Final = Has({"id": Text()})

Send = Callable[[bytes], tuple[int, bytes]]
"""Function that takes the body of a request, and returns the HTTP status and the body of the response."""

START: Final = 4_000_406_400_000
"""The instant (ms) at which a script begins that sets the time: a Sunday, 00:00 UTC, in the year 2096.

It is in the future, so that no record of a script is due by the server's real clock.
"""
MAX_PAGES: Final = 1_000
"""Maximum number of pages of a search. A search with more pages fails."""

_IDS = frozenset(
    {"id", "awaited", "awaiter", "promiseId", "lastPromise", "message", "place"}
    | {f"resonate:{name}" for name in ("origin", "branch", "parent", "prefix", "schedule", "taken-by", "published-by")}
)
_PLACEHOLDER = re.compile(r"<(?:(?P<n>n)|at (?P<at>-?\d+)|id (?P<id>[^<>]*))>")


class Failed(Exception):
    """The response to a step is wrong. The message has the place, the request and the response."""


class NoResponse(Exception):
    """A body is not a response of the protocol, or the server refuses debug requests."""


class ScriptContext(Struct):
    """State of a running script.

    Attributes:
        start: the instant (ms) at which the script begins.
        prefix: the prefix of every id.
        now: the instant (ms) of the current request. None if the server has its own time.
        kept: the values of `<keep NAME>`.
        n: the number of the repetition.
    """

    start: int
    prefix: str = ""
    now: int | None = None
    kept: dict[str, Any] = {}
    n: int = 0

    def filled(self, value: Any, key: str | None = None) -> Any:
        """Return `value` with all known placeholders replaced. Only the wildcards of a response remain."""
        match value:
            case str():
                text = _PLACEHOLDER.sub(self._placeholder, value)
                return self._id(text) if key in _IDS else text
            case At(offset):
                return self.start + offset
            case Now():
                return Number() if self.now is None else self.now
            case Kept(name):
                return self.kept[name]
            case Long(size):
                return (self._id("a") if key in _IDS else "").ljust(size, "a")
            case Each(times, of):
                return [self._numbered(n).filled(of) for n in range(1, times + 1)]
            case Has(keys):
                return Has(self.filled(keys))
            case _ if is_object(value):
                return {name: self.filled(each, name) for name, each in value.items()}
            case _ if is_list(value):
                return [self.filled(each) for each in value]
            case _:
                return value

    def _numbered(self, n: int) -> ScriptContext:
        return ScriptContext(self.start, self.prefix, self.now, self.kept, n)

    def _id(self, text: str) -> str:
        """Return an id with the prefix of this run. Return an empty text, or a template with an id, unchanged."""
        return self.prefix + text if text and "{{.id}}" not in text else text

    def _placeholder(self, found: re.Match[str]) -> str:
        if found["n"]:
            return str(self.n)
        return str(self.start + int(found["at"])) if found["at"] else self._id(found["id"])


class Runner:
    """Runner of scripts against one server.

    Args:
        send: sends a request to the server.
        clock: returns approximately the server's time (ms), at which scripts begin. If None, scripts set the time: the
            server must answer debug requests, and is emptied before every script.
        prefix: the prefix of every id. It must not contain a dot.
        token: the token in the head of every request.
    """

    def __init__(
        self, send: Send, *, clock: Callable[[], int] | None = None, prefix: str = "", token: str | None = None
    ) -> None:
        self._send = send
        self._clock = clock
        self._debug = clock is None
        self._prefix = prefix
        self._token = token
        self._numbers = itertools.count(1)
        self._runs = itertools.count(1)

    def runs(self, script: Script) -> bool:
        """Return whether the script can run with this way of keeping time."""
        return script.debug in (None, self._debug)

    def run(self, script: Script) -> None:
        """Run one script.

        Raises:
            Failed: a response differs from the script.
            NoResponse: the server refuses debug requests that the runner needs.
        """
        context = ScriptContext(START, self._prefix and f"{self._prefix}{next(self._runs)}-")
        if self._clock is not None:
            context.start = self._clock()
        else:
            context.now = START
            self._drive("debug.reset", context)
            self._drive("debug.start", context)
        for number, step in enumerate(script.steps, 1):
            for n in range(1, step.times + 1):
                context.n = n
                try:
                    problem = self._step(step, context)
                except NoResponse as error:
                    problem = str(error)
                if problem is not None:
                    raise Failed(_report(script, number, step, context, problem))

    def finish(self) -> None:
        """Empty a server that answers debug requests, and let it run."""
        if self._debug:
            self._drive("debug.reset", ScriptContext(START))
            self._drive("debug.stop", ScriptContext(START))

    def _step(self, step: Step, context: ScriptContext) -> str | None:
        """Carry out a step. Return what is wrong with the response, or None."""
        match step.command:
            case "clock":
                context.now = context.start + step.given
                return None
            case "tick":
                context.now = context.start + step.given
                return self._compare("debug.tick", {"time": context.now}, 200, [], context)
            case "messages":
                return self._messages(step, context)
            case "body":
                return self._body(step, context)
            case kind if step.follow:
                return self._follow(kind, step, context)
            case kind:
                given, expected = context.filled(step.given), context.filled(step.expected)
                return self._compare(kind, given, step.status, expected, context)

    def _compare(self, kind: str, data: Any, status: int, expected: Any, context: ScriptContext) -> str | None:
        envelope = self._ask(kind, data, context)
        found = {"status": envelope["head"]["status"], "data": envelope["data"]}
        first = difference({"status": status, "data": expected}, found, context.kept)
        return None if first is None else _told(first, found)

    def _follow(self, kind: str, step: Step, context: ScriptContext) -> str | None:
        """Read all pages of a search, and compare the results, sorted by id."""
        data: dict[str, Any] = context.filled(step.given)
        found: dict[str, list[Any]] = {}
        for _ in range(MAX_PAGES):
            envelope = self._ask(kind, data, context)
            if envelope["head"]["status"] != step.status or not isinstance(envelope["data"], dict):
                return f"a page is answered with {shown(envelope)}"
            page = dict(envelope["data"])
            cursor = page.pop("cursor", None)
            for name, entries in page.items():
                if not is_list(entries) or any(difference(_ENTRY, entry, {}) for entry in entries):
                    return f"a page holds {name} that are no list of records: {shown(entries)}"
                if len(entries) > data.get("limit", 100):
                    return f"a page holds {len(entries)} {name}, which is more than its limit"
                found.setdefault(name, []).extend(entries)
            if cursor is None:
                break
            data = {**data, "cursor": cursor}
        else:
            return f"there is no last page among {MAX_PAGES}"
        for entries in found.values():
            entries.sort(key=lambda entry: entry["id"])
        first = difference(context.filled(step.expected), found, context.kept, "data")
        return None if first is None else _told(first, found)

    def _messages(self, step: Step, context: ScriptContext) -> str | None:
        """Compare the messages that the server holds back, and then release them."""
        snapshot = self._drive("debug.snap", context)
        if (first := difference(Has({"messages": Any_()}), snapshot, {}, "data")) is not None:
            return _told(first, snapshot)
        queued = snapshot["messages"]
        self._drive("debug.stop", context)
        self._drive("debug.start", context)
        expected = context.filled(step.given)
        if len(expected) != len(queued):
            return f"expected {len(expected)} messages, found {len(queued)}: {shown(queued)}"
        left: list[Any] = list(queued)
        for wanted in expected:
            match = next((each for each in left if difference(wanted, each, context.kept) is None), None)
            if match is None:
                return f"expected the message {shown(wanted)}, found {shown(left)}"
            left.remove(match)
        return None

    def _body(self, step: Step, context: ScriptContext) -> str | None:
        """Send a body that need not be an envelope, and compare the whole response."""
        given = context.filled(step.given)
        body = given if isinstance(given, str) else json.dumps(given)
        status, envelope = self._exchange(body.encode())
        found = {"status": status, "envelope": envelope}
        first = difference({"status": step.status, "envelope": context.filled(step.expected)}, found, context.kept)
        return None if first is None else _told(first, found)

    def _drive(self, kind: str, context: ScriptContext) -> Any:
        """Send a debug request of the runner, and return the data of the response."""
        envelope = self._ask(kind, {}, context)
        if envelope["head"]["status"] != 200:
            raise NoResponse(f"{kind}: the server is not to be driven: {shown(envelope)}")
        return envelope["data"]

    def _ask(self, kind: str, data: Any, context: ScriptContext) -> Any:
        """Send a request, and return the envelope of the response.

        Raises:
            NoResponse: the response is not a valid envelope for this request.
        """
        corr_id = f"c{next(self._numbers)}"
        head: dict[str, Any] = {"corrId": corr_id, "version": VERSION}
        if self._token is not None:
            head["auth"] = self._token
        if context.now is not None:
            head["resonate:debug_time"] = context.now
        status, envelope = self._exchange(json.dumps({"kind": kind, "head": head, "data": data}).encode())
        kept: dict[str, Any] = {}
        expected = {"kind": kind, "head": {"corrId": corr_id, "status": status, "version": VERSION}}
        first = difference(Has(expected), envelope, kept)
        if first is None and status >= 400 and not isinstance(envelope["data"], str):
            first = Mismatch("data", "a text, since the status is an error", shown(envelope["data"]))
        if first is not None:
            raise NoResponse(f"{kind}: this is no response: {_told(first, envelope)}")
        return envelope

    def _exchange(self, body: bytes) -> tuple[int, Any]:
        status, answer = self._send(body)
        try:
            envelope = json.loads(answer)
        except ValueError as error:
            raise NoResponse(f"status {status}, and the body is not JSON ({error}): {answer[:300]!r}") from error
        if not is_object(envelope) or envelope.keys() != {"kind", "head", "data"}:
            raise NoResponse(f"status {status}, and the body is no envelope: {shown(envelope)}")
        if is_object(head := envelope["head"]) and isinstance(head.get(TIME), int):
            del head[TIME]  # Servers need not send their time.
        if is_object(head) and isinstance(head.get(KINDS), list):
            del head[KINDS]  # Other servers know no further kinds.
        return status, envelope


def _told(first: Mismatch, found: Any) -> str:
    return f"{first}\n    in {shown(found)}"


def _report(script: Script, number: int, step: Step, context: ScriptContext, problem: str) -> str:
    lines = [f"{script.file}:{step.line}: {script.title!r}, step {number}, {step.command} {shown(step.given)}"]
    if step.times > 1:
        lines.append(f"    in repetition {context.n}")
    lines.append(f"    {problem}")
    if script.differs:
        lines.append(f"    the official server differs here, and is meant to: {script.differs}")
    return "\n".join(lines)
