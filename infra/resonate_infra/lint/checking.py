"""The check of files and directories: every rule, what comments turn off, and what needs all files."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from resonate_infra.lint import calls, commands, determinism, endings, state
from resonate_infra.lint.rules import Finding
from resonate_infra.lint.source import SourceFile, Unreadable
from resonate_infra.lint.workflows import Code, Workflows

_CHECKS = (determinism.check, commands.check, endings.check, state.check, calls.check)
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})


class UnreadableFile(NamedTuple):
    """File that could not be checked: where, and why."""

    path: str
    line: int
    message: str


class Checked(NamedTuple):
    """What a check has found.

    Attributes:
        findings: in the order of paths and lines.
        unreadable: the files that are not Python.
        files: the number of files that were checked.
        workflows: the number of workflows in them.
    """

    findings: list[Finding]
    unreadable: list[UnreadableFile]
    files: int
    workflows: int


def check(paths: Iterable[Path], codes: frozenset[str]) -> Checked:
    """Check files, and the Python files below directories.

    Args:
        paths: files and directories. A file may have any name.
        codes: the codes of the rules to apply.

    Raises:
        FileNotFoundError: a path does not exist.
        OSError: a file cannot be read.
    """
    findings: set[Finding] = set()
    unreadable: list[UnreadableFile] = []
    remote: list[calls.RemoteName] = []
    names: set[str | None] = set()
    functions: set[str | None] = set()
    seen: set[str] = set()
    workflows = 0
    all_register = True
    for path in paths:
        registered = False
        for file in files_of(path):
            shown = str(file)
            try:
                source = SourceFile(shown, file.read_bytes())
            except Unreadable as error:
                if shown not in seen:
                    unreadable.append(UnreadableFile(shown, error.line, error.message))
                seen.add(shown)
                continue
            found = Workflows(source)
            registered = registered or found.registers
            if shown in seen:
                continue
            seen.add(shown)
            workflows += found.count
            names |= found.names
            functions |= found.functions
            for code in found.codes:
                findings.update(_findings(code, found, codes))
                if code.replayed and "RS401" in codes:
                    remote += calls.remote_names(code)
        all_register = all_register and registered
    if all_register:
        for each in remote:
            known = functions if each.is_function else names
            if None not in known and each.name not in known:
                findings.update(_finding("RS401", each.code, each.node, each.message))
    ordered = sorted(findings, key=lambda each: (each.path, each.line, each.column, each.code))
    return Checked(ordered, unreadable, len(seen) - len(unreadable), workflows)


def files_of(path: Path) -> Iterator[Path]:
    """Yield the file, or the Python files below a directory, except hidden directories and environments."""
    if not path.is_dir():
        yield path
        return
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name not in _SKIPPED and not Path(folder, name, "pyvenv.cfg").exists()
        )
        yield from (Path(folder, name) for name in sorted(files) if name.endswith(".py"))


def _findings(code: Code, workflows: Workflows, codes: frozenset[str]) -> Iterator[Finding]:
    for check_of in _CHECKS:
        for rule, node, message in check_of(code):
            if rule in codes:
                yield from _finding(rule, code, node, message)
    if "RS402" in codes:
        for rule, node, message in calls.effects(code, workflows):
            yield from _finding(rule, code, node, message)


def _finding(rule: str, code: Code, node: ast.AST, message: str) -> Iterator[Finding]:
    """Yield a finding, if no comment turns it off."""
    place = code.source.place(node)
    if not code.source.ignores(rule, place):
        yield Finding(rule, message, code.source.path, *place, workflow=code.workflow)
