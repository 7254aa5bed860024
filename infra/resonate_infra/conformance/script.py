"""The language of the scripts, with placeholders for what is only known when a script runs.

A file is a list of scripts. A script has a title, says what it `covers` - sections of docs/protocol.md, rules of
docs/rules.md - and consists of steps. A step is a mapping with one of these keys:

    KIND: data        make a request; the other key is the status, and its value the data of the response
    body: text        send this body as it is, and compare whole envelopes
    clock: 500        it is now 500 ms after the start; nothing happens by itself
    tick: 500         the same, and the server does what is due
    messages: [...]   exactly these messages were queued since the last look, in any order

In data, ids are written as if the server were ours alone; whoever runs a script may put a prefix before all of them.
The classes below are the placeholders: a text that is nothing else, such as `<now>`. Within a longer text, `<at 500>`
is an instant, `<id a>` an id, and `<n>` the number of a repetition.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

COMMANDS = ("body", "clock", "tick", "messages")


class Any_(Struct, frozen=True):
    """`<any>`: anything, as long as it is there."""


class Text(Struct, frozen=True):
    """`<text>`: any text; `<text REGEX>`: one in which this is found."""

    pattern: str = ""


class Number(Struct, frozen=True):
    """`<number>`: any integer."""


class Now(Struct, frozen=True):
    """`<now>`: the instant of the request, as the server's clock had it."""


class At(Struct, frozen=True):
    """`<at 500>`: the instant 500 ms after the start of the script."""

    offset: int


class Has(Struct, frozen=True):
    """`!has {...}`: an object with at least these keys; without the tag, it has them and no others."""

    keys: dict[str, Any]


class Keep(Struct, frozen=True):
    """`<keep NAME>`: anything, remembered under this name."""

    name: str


class Kept(Struct, frozen=True):
    """`<kept NAME>`: what was remembered."""

    name: str


class Long(Struct, frozen=True):
    """`<long 1001>`: a text of so many bytes; as an id, prefix included."""

    size: int


class Each(Struct, frozen=True):
    """`!each {times: 3, of: ...}`: a list of so many, with `<n>` replaced by 1, 2, 3."""

    times: int
    of: Any


class Step(Struct, frozen=True, kw_only=True):
    """One step.

    Attributes:
        line: where it stands in its file.
        command: a kind of request, or one of `COMMANDS`.
        given: data of the request, the body, the instant (ms after the start), or the messages expected.
        status: the status expected, for a request or a body.
        expected: the data of the response, or for a body its envelope.
        follow: for a search; ask for all pages, and compare everything that was found, by id.
        times: how often to make the request, with `<n>` replaced by 1, 2, 3...
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
    """One script.

    Attributes:
        file, line: where it stands.
        covers: sections of docs/protocol.md ("1.5 promise.get") and rules of docs/rules.md ("rule 7").
        differs: what the official server answers instead, and why ours does not, where it is so on purpose.
        debug: whether it needs a server that answers debug requests (True), or one that does not (False).
    """

    file: str
    line: int
    title: str
    covers: tuple[str, ...]
    steps: tuple[Step, ...]
    differs: str | None = None
    debug: bool | None = None
