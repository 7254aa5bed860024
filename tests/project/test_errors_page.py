"""docs/errors.md explains every error that users meet, and nothing else. docs/troubleshooting.md leads there."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import resonate
import resonate_infra
import resonate_store
from resonate.errors import ApplicationError, ResonateError
from resonate.errors.canceled import Canceled
from resonate_infra.cli.application import loaded
from resonate_infra.explanations import explanation_of
from resonate_store.documented import EXPLAIN, Documented

ROOT = Path(__file__).parents[2]
PAGE = "docs/errors.md"
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")
SOURCES = [path for folder in ("sdk", "store", "infra") for path in sorted((ROOT / folder).rglob("*.py"))]
NOT_LOADED = ("__main__", "resonate_infra.project.files", "resonate_infra.conformance.plugin", "resonate_infra.cdk")
OF_USERS = {Canceled, ApplicationError}
"""Errors on the page that are those of a user's function or of asyncio, and have no note."""


def kinds(base: type) -> Iterator[type]:
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


def documented() -> set[type]:
    """Return the errors of the packages."""
    for package in (resonate, resonate_store, resonate_infra):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not any(part in module.name for part in NOT_LOADED):
                importlib.import_module(module.name)
    return {kind for kind in kinds(Documented) if kind.help == f"{EXPLAIN} {kind.__name__}"}


def strings() -> str:
    """Return the texts of the sources, with a space for each value that is filled in."""
    found: list[str] = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else " " for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.sub(r"%[sdr]", " ", node.value))
    return re.sub(r"\s+", " ", "\n".join(found))


def test_page_explains_each_error_and_no_other() -> None:
    headings = re.findall(r"^### (\w+)$", TEXT, re.MULTILINE)

    assert len(headings) == len(set(headings))
    assert set(headings) == {kind.__name__ for kind in documented() | OF_USERS}


def test_page_names_module_and_way_out_of_each_error(subtests: pytest.Subtests) -> None:
    for section in re.split(r"^### ", TEXT.partition("## Statuses")[0], flags=re.MULTILINE)[1:]:
        name, _, text = section.partition("\n")
        (kind,) = [kind for kind in documented() | OF_USERS if kind.__name__ == name]
        with subtests.test(name):
            named = re.search(r"Module:\s+`([\w.]+)`", text)
            assert hasattr(importlib.import_module(named[1] if named else "resonate.errors"), name)
            base = re.search(r"Bases?:\s+`(\w+)`", text)
            assert base is None or base[1] in {each.__name__ for each in kind.__mro__}


def test_page_lists_log_lines_that_exist(subtests: pytest.Subtests) -> None:
    known = strings()
    for line in re.findall(r"^\| `([^`]+)` \|", TEXT.partition("## Log lines")[2], re.MULTILINE):
        for words in line.replace("made 1 more command than", "more command ... than").split(" ... "):
            with subtests.test(line, words=words):
                assert words in known


def test_error_of_a_user_has_the_help_of_its_base() -> None:
    class OrderError(ResonateError):
        pass

    assert OrderError.help == "resonate explain ResonateError"
    assert OrderError("text", 1).__notes__ == ["Causes and way out: resonate explain ResonateError"]


def test_help_of_each_error_explains_it() -> None:
    for kind in documented():
        assert explanation_of(kind.help.removeprefix(f"{EXPLAIN} ")).code == kind.__name__


PAGES = (PAGE, "docs/troubleshooting.md")


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_to_headings(subtests: pytest.Subtests) -> None:
    for page in (ROOT / name for name in PAGES):
        for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            path, _, anchor = link.partition("#")
            target = (page.parent / path) if path else page
            with subtests.test(link):
                assert target.exists()
                assert not anchor or anchor in anchors(target)


def test_commands_of_the_pages_exist(subtests: pytest.Subtests) -> None:
    commands = {line for name in PAGES for line in re.findall(r"`resonate ([^`]+)`", (ROOT / name).read_text())}
    for line in sorted(commands):
        first, *words = shlex.split(line)
        command: Any = loaded(first)
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        options = {option for parameter in command.params for option in parameter.opts}
        with subtests.test(line):
            assert not hasattr(command, "commands")
            assert {word for word in words if word.startswith("--")} <= options
