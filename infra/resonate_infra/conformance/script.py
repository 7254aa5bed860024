"""Language of the scripts, with placeholders for values that are known only when a script runs.

A file is a list of scripts. A script has a title, steps, and a list of what it `covers`: sections of docs/protocol.md
and rules of docs/rules.md. A step is a mapping with one of these keys:

    KIND: data        send a request; the other key is the status, and its value the data of the response
    body: text        send this body unchanged, and compare whole envelopes
    clock: 500        set the time to 500 ms after the start; the server wakes nothing
    tick: 500         set the time to 500 ms after the start, and wake what is due
    messages: [...]   exactly these messages were sent since the last such step, in any order

Ids in data have no prefix. The runner may put a prefix before all of them.

The classes below are the placeholders. A placeholder is a whole text, such as `<now>`. Within a longer text, `<at 500>`
is an instant, `<id a>` an id, and `<n>` the number of a repetition.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

COMMANDS = ("body", "clock", "tick", "messages")


class Any_(Struct, frozen=True):
    """`<any>`: any value, which must exist."""


class Text(Struct, frozen=True):
    """`<text>`: any text. `<text REGEX>`: a text that contains a match of the regular expression."""

    pattern: str = ""


class Number(Struct, frozen=True):
    """`<number>`: any integer."""


class Now(Struct, frozen=True):
    """`<now>`: the instant of the request. Any integer if the server has its own time."""


class At(Struct, frozen=True):
    """`<at 500>`: the instant 500 ms after the start of the script."""

    offset: int


class Has(Struct, frozen=True):
    """`!has {...}`: an object with at least these keys. Without the tag, an object must have exactly its keys."""

    keys: dict[str, Any]


class Keep(Struct, frozen=True):
    """`<keep NAME>`: any value, which is stored under this name."""

    name: str


class Kept(Struct, frozen=True):
    """`<kept NAME>`: the value that was stored under this name."""

    name: str


class Long(Struct, frozen=True):
    """`<long 1001>`: a text of 1001 bytes. In an id, this includes the prefix."""

    size: int


class Each(Struct, frozen=True):
    """`!each {times: 3, of: ...}`: a list of 3 values, with `<n>` replaced by 1, 2, 3."""

    times: int
    of: Any


class Step(Struct, frozen=True, kw_only=True):
    """Step of a script.

    Attributes:
        line: its line in the file.
        command: a kind of request, or one of `COMMANDS`.
        given: the data of the request, the body, the instant (ms after the start), or the expected messages.
        status: the expected status of a request or a body.
        expected: the expected data of the response, or for a body the expected envelope.
        follow: for a search, read all pages and compare all results, sorted by id.
        times: how often to send the request, with `<n>` replaced by 1, 2, 3 and so on.
    """

    line: int
    command: str
    given: Any
    status: int = 0
    expected: Any = None
    follow: bool = False
    times: int = 1

    @property
    def request(self) -> bool:
        return self.command not in COMMANDS


class Script(Struct, frozen=True, kw_only=True):
    """Script: a title and steps.

    Attributes:
        file, line: its place.
        title: what the server does, as a sentence.
        covers: sections of docs/protocol.md ("1.5 promise.get") and rules of docs/rules.md ("rule 7").
        steps: the steps, in order.
        differs: what the official server does instead, if this difference is on purpose.
        debug: True if the server must answer debug requests, False if it must refuse them, None if both are possible.
    """

    file: str
    line: int
    title: str
    covers: tuple[str, ...]
    steps: tuple[Step, ...]
    differs: str | None = None
    debug: bool | None = None
