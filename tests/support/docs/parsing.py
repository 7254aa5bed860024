"""Parsers of blocks: each returns what is wrong, or raises an error that says it."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import textwrap
import tomllib
from collections.abc import Iterator
from unittest.mock import patch

import yaml
from typer.core import TyperCommand

from tests.support.command_line import CommandLine
from tests.support.docs.blocks import ROOT, Block

UNPARSED = {"text", "mermaid", "setup"}
_OPERATORS = {"&&", "||", "|", "&", ";"}


class BlockError(Exception):
    """Raised when a block cannot be what its language says."""


class Command:
    """A command line of a console block, with the output that the block shows.

    Attributes:
        text: the line as a shell reads it.
        words: its words, without comments.
        output: the lines that follow it.
    """

    def __init__(self, text: str, output: list[str]) -> None:
        self.text = text
        self.words = shlex.split(text.replace("; ", " ; "), comments=True)
        self.output = output

    def simple(self) -> Iterator[list[str]]:
        """Yield the words of each command of the line."""
        words: list[str] = []
        for word in [*self.words, ";"]:
            if word in _OPERATORS:
                if words:
                    yield words
                words = []
            else:
                words.append(word)


def commands_of(block: Block) -> list[Command]:
    """Return the command lines of a console block.

    Raises:
        BlockError: a line before the first command, or quotes that do not end.
    """
    found: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif not found:
            raise BlockError("a console block begins with '$ ' and a command")
        elif not found[-1][1] and _continues(found[-1][0]):
            found[-1] = (f"{found[-1][0]}\n{line}", [])
        else:
            found[-1][1].append(line)
    try:
        return [Command(text.replace("\\\n", " "), output) for text, output in found]
    except ValueError as error:
        raise BlockError(str(error)) from None


def _continues(text: str) -> bool:
    if text.endswith("\\"):
        return True
    try:
        shlex.split(text, comments=True)
    except ValueError:  # a quote that does not end
        return True
    return False


def parse(block: Block) -> None:
    """Parse a block as its language.

    Raises:
        BlockError: the language has no parser, or its parser refuses the block.
    """
    try:
        if block.language == "python":
            parse_python(block.text)
        elif block.language == "console":
            for command in commands_of(block):
                for words in command.simple():
                    accept(words)
        elif block.language == "yaml":
            list(yaml.compose_all(block.text))
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "ini":
            configparser.ConfigParser().read_string(block.text)
        elif block.language not in UNPARSED:
            raise BlockError(f"{block.language!r} has no parser: use python, console, yaml, json, toml, ini or text")
    except (SyntaxError, yaml.YAMLError, ValueError, configparser.Error) as error:
        raise BlockError(str(error)) from None


def parse_python(text: str) -> None:
    """Compile a module, or a part of a function.

    Raises:
        SyntaxError: it is neither.
    """
    body = textwrap.dedent(text)
    # A part of a workflow yields or awaits outside of a function.
    for form in ("{}", "def part():\n{}", "async def part():\n{}"):
        whole = form.format(body if form == "{}" else textwrap.indent(body, "    "))
        try:
            compile(whole, "<block>", "exec")
        except SyntaxError as error:
            fault = error
        else:
            return
    raise fault


def accept(words: list[str], *, whole: bool = True) -> None:
    """Have the parser of the command line read a command of `resonate`, or the targets of `make`.

    Args:
        words: the words of a command line.
        whole: whether all arguments must be there. A mention in a sentence may leave some out.

    Raises:
        BlockError: the command line refuses it.
    """
    name, arguments = words[0], words[1:]
    if name == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        if unknown := [word for word in arguments if word not in targets and not re.match(r"-|\w+=", word)]:
            raise BlockError(f"make has no target {unknown[0]}")
    if name != "resonate":
        return
    # The commands only parse their arguments.
    with patch.object(TyperCommand, "invoke", lambda *_: None):
        ran = CommandLine().run(*arguments)
    if ran.err.startswith("error: ") and (
        whole or not re.search(r"Missing (argument|option)|Invalid value|requires an argument", ran.err)
    ):
        raise BlockError(f"resonate {' '.join(arguments)}: {ran.err}")
