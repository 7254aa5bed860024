"""The rules for the names of tests."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.prose import BANNED

TESTS = Path(__file__).parents[1]

MAX_WORDS = 10
FIRST_WORDS = {
    *("a", "all", "an", "every", "it", "its", "no", "nobody", "nothing"),
    *("one", "only", "the", "two", "what", "where", "whoever"),
}
"""Words that do not name a unit or a feature, so a name does not begin with them."""


def names_of_tests() -> set[str]:
    """Return the names of all tests."""
    return {name for path in TESTS.rglob("test_*.py") for name in _defined(ast.parse(path.read_text("utf-8")))}


def faults(name: str) -> Iterator[str]:
    """Yield what is wrong with the name of a test."""
    words = name.removeprefix("test_").split("_")
    if len(words) > MAX_WORDS:
        yield f"{len(words)} words"
    if words[0] in FIRST_WORDS:
        yield f"begins with '{words[0]}'"
    yield from (f"'{found.group()}' is not used" for turn in BANNED if (found := turn.search(" ".join(words))))


def _defined(tree: ast.Module | ast.ClassDef) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from _defined(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name
