"""Checks of the Python and the packages of this machine."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from resonate_infra.cli.doctor.findings import Remark, Subject, error, ok, warning
from resonate_infra.distributions import OURS, conflict, others

OLDEST, NEWEST = (3, 11), (3, 13)
"""The versions of Python that are tested."""
SHOWN = (OURS, "boto3", "aws-lambda-powertools")
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[^]]*\])?\s*(?P<range>[^;]*)(;\s*(?P<marker>.*))?")
_BOUND = re.compile(r"(>=|<)\s*([\d.]+)")


def python(_subject: Subject) -> Iterator[Remark]:
    found = sys.version_info[:2]
    if OLDEST <= found <= NEWEST:
        yield ok(".".join(map(str, sys.version_info[:3])))
    else:
        tested = " to ".join(".".join(map(str, each)) for each in (OLDEST, NEWEST))
        yield warning(f"{found[0]}.{found[1]} is not tested", f"use a Python from {tested}")


def packages(subject: Subject) -> Iterator[Remark]:
    """Compare the installed packages with what this project requires of them."""
    try:
        requirements = requires(OURS) or []
    except PackageNotFoundError:
        yield warning(f"{OURS} is not installed, only its files are there", f"pip install '{OURS}[aws,cli]'")
        return
    extras = ("cli", "aws") if subject.session.table is not None else ("cli",)
    wrong = list(_wrong(requirements, extras))
    yield from wrong
    if not wrong:
        yield ok(", ".join(f"{name} {_installed(name)}" for name in SHOWN if _installed(name)))


def _wrong(requirements: list[str], extras: tuple[str, ...]) -> Iterator[Remark]:
    wanted = {None, *(f'extra == "{extra}"' for extra in extras), *(f"extra == '{extra}'" for extra in extras)}
    for requirement in requirements:
        found = _REQUIREMENT.match(requirement)
        if found is None or found["marker"] not in wanted:  # what only some platforms need is optional
            continue
        name, installed = found["name"], _installed(found["name"])
        way = f"pip install '{OURS}[{','.join(sorted(extras))}]'"
        if installed is None:
            yield error(f"{name} is not installed", way)
        elif not _fits(installed, found["range"]):
            yield warning(f"{name} {installed} is not {found['range'].strip()}", way)


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _fits(installed: str, bounds: str) -> bool:
    number = _number(installed)
    return all(
        number >= _number(bound) if operator == ">=" else number < _number(bound)
        for operator, bound in _BOUND.findall(bounds)
    )


def _number(text: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", text)[:3])


def distributions(_subject: Subject) -> Iterator[Remark]:
    """Look for another distribution with a package `resonate`."""
    line = conflict()
    if line is not None:
        yield error(*_halves(line))
        return
    found = others()
    for name in found:
        yield error(f"{name} has a package `resonate` too, and can have replaced our files", f"pip uninstall {name}")
    if not found:
        yield ok(f"`resonate` is that of {OURS}")


def _halves(line: str) -> tuple[str, str]:
    text, _, way = line.partition("; ")
    return text, way
