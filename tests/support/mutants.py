"""Mutants of the machine and the interpreter, judged by the tests that run the changed lines.

    python -m tests.support.mutants draw PLACES.json [FILE ...] [--number 400] [--seed 20261130]
    python -m tests.support.mutants cover COVERAGE [TESTS ...]
    python -m tests.support.mutants run PLACES.json COVERAGE RESULTS.json

`draw` chooses places with a fixed seed. A place is a file, a function, an operator and a number, so it stays the same
while comments and docstrings change. `cover` runs tests, by default unit and spec, and notes which of them run a line.
`run` changes one place after the other in this tree, and runs the tests that cover its line, each time in a fork of
this process. `cover` and `run` need the package coverage.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import boto3  # noqa: F401 (the forks need not import it)
import moto  # noqa: F401
import pytest

ROOT = Path(__file__).parents[2]
BATCHES = (60, 400)
"""How many tests run before the next ones are started: most mutants are killed by the first."""
TIMEOUT_S = 300
OPTIONS = ("-qq", "--tb=no", "-n", "0", "-p", "no:cacheprovider", "-o", "faulthandler_timeout=0")

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
}

Change = Callable[[Any], ast.AST | None]
"""Changes a node in place and returns None, or returns the node that replaces it."""


class Found(NamedTuple):
    """A node of a tree that an operator can change."""

    function: str
    operator: str
    node: Any
    parent: Any
    field: str
    position: int | None
    change: Change


def _set(field: str, value: Callable[[Any], Any]) -> Change:
    def change(node: Any) -> None:
        setattr(node, field, value(node))

    return change


def _without(position: int) -> Change:
    def change(node: ast.BoolOp) -> ast.AST | None:
        node.values.pop(position)
        return node.values[0] if len(node.values) == 1 else None

    return change


def _compared(position: int) -> Change:
    def change(node: ast.Compare) -> None:
        node.ops[position] = COMPARISONS[type(node.ops[position])]()

    return change


def _swapped(node: ast.IfExp) -> None:
    node.body, node.orelse = node.orelse, node.body


def _operators(node: ast.AST) -> Iterator[tuple[str, Change]]:
    match node:
        case ast.Compare():
            yield from ((f"compare {n}", _compared(n)) for n, op in enumerate(node.ops) if type(op) in COMPARISONS)
        case ast.BoolOp():
            other = ast.And if isinstance(node.op, ast.Or) else ast.Or
            yield "and or", _set("op", lambda _: other())
            yield "without first", _without(0)
            yield "without last", _without(-1)
        case ast.UnaryOp(op=ast.Not()):
            yield "not", lambda changed: changed.operand
        case ast.BinOp() if type(node.op) in ARITHMETIC and not isinstance(node.left, ast.JoinedStr):
            yield "arithmetic", _set("op", lambda changed: ARITHMETIC[type(changed.op)]())
        case ast.Constant(value=bool()):
            yield "flip", _set("value", lambda changed: not changed.value)
        case ast.Constant(value=int()):
            yield "plus one", _set("value", lambda changed: changed.value + 1)
        case ast.Return(value=ast.expr()):
            yield "return None", _set("value", lambda _: ast.Constant(None))
        case ast.Assign() | ast.AugAssign() | ast.Expr(value=ast.Call()):
            yield "delete", lambda _: ast.Pass()
        case ast.If():
            yield "if True", _set("test", lambda _: ast.Constant(True))
            yield "if False", _set("test", lambda _: ast.Constant(False))
        case ast.IfExp():
            yield "swap", _swapped
        case ast.Call(keywords=[*_, ast.keyword(arg=str())]):
            yield "without keyword", lambda changed: changed.keywords.pop() and None
        case _:
            pass


def _found(node: ast.AST, function: str = "", *, within: bool = False) -> Iterator[Found]:
    """Yield what can be changed within functions. Signatures, annotations and texts of errors are left alone."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        if field == "args" and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        listed: list[Any] = value if isinstance(value, list) else [value]
        for position, child in enumerate(listed):
            if not isinstance(child, ast.AST):
                continue
            name, inside = function, within
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{function}.{child.name}".lstrip(".")
                inside = within or not isinstance(child, ast.ClassDef)
            if inside:
                place = position if isinstance(value, list) else None
                for operator, change in _operators(child):
                    yield Found(name, operator, child, node, field, place, change)
            if not isinstance(child, ast.Raise):
                yield from _found(child, name, within=inside)


def _numbered(tree: ast.AST) -> Iterator[tuple[tuple[str, str, int], Found]]:
    counts: Counter[tuple[str, str]] = Counter()
    for found in _found(tree):
        key = (found.function, found.operator)
        yield (*key, counts[key]), found
        counts[key] += 1


def mutated(source: str, place: tuple[str, str, int]) -> tuple[str, int]:
    """Return the source with one change, and the line of the change."""
    tree = ast.parse(source)
    found = next(each for key, each in _numbered(tree) if key == place)
    line = found.node.lineno
    if (replacement := found.change(found.node)) is not None:
        if found.position is None:
            setattr(found.parent, found.field, replacement)
        else:
            getattr(found.parent, found.field)[found.position] = replacement
    return ast.unparse(ast.fix_missing_locations(tree)), line


def draw(files: list[str], number: int, seed: int) -> list[dict[str, Any]]:
    """Draw places whose change is a valid program and differs from the source."""
    sources = {file: (ROOT / file).read_text("utf-8") for file in files}
    pool = [(file, key) for file in files for key, _ in _numbered(ast.parse(sources[file]))]
    random.Random(seed).shuffle(pool)
    drawn: list[dict[str, Any]] = []
    for file, place in pool:
        changed, line = mutated(sources[file], place)
        if len(drawn) < number and changed != ast.unparse(ast.parse(sources[file])):
            text = sources[file].splitlines()[line - 1].strip()
            drawn.append({"file": file, "place": place, "line": line, "text": text})
    return drawn


def covering(data: Any, file: str, line: int) -> list[str]:
    """Return the tests that run a line, or the beginning of its statement."""
    contexts: dict[int, list[str]] = data.contexts_by_lineno(str(ROOT / file))
    for number in range(line, max(0, line - 8), -1):
        if tests := sorted(each for each in contexts.get(number, ()) if each):
            return tests
    return []


def _run(tests: list[str]) -> None:
    code = pytest.main([*OPTIONS, "-x", *tests])
    if code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):  # some ids differ in every run
        code = pytest.main([*OPTIONS, "-x", *{test.partition("[")[0] for test in tests}])
    sys.exit(code)


def killed(tests: list[str]) -> bool:
    """Return whether one of the tests fails, or does not end."""
    for begin, end in itertools.pairwise([0, *BATCHES, len(tests)]):
        if batch := tests[begin : max(begin, end)]:
            fork = get_context("fork").Process(target=_run, args=(batch,))
            fork.start()
            fork.join(TIMEOUT_S)
            if fork.exitcode != 0:
                fork.kill()
                return True
    return False


def run(places: list[dict[str, Any]], data: Any, results: Path) -> None:
    """Judge every place that has no result yet, and write the results after each."""
    known: dict[str, Any] = json.loads(results.read_text("utf-8")) if results.exists() else {}
    for number, place in enumerate(places):
        if str(number) in known:
            continue
        path = ROOT / place["file"]
        source = path.read_text("utf-8")
        changed, line = mutated(source, tuple(place["place"]))
        tests = covering(data, place["file"], line)
        random.Random(number).shuffle(tests)
        path.write_text(changed, "utf-8")
        try:
            known[str(number)] = {**place, "tests": len(tests), "killed": killed(tests)}
        finally:
            path.write_text(source, "utf-8")
        results.write_text(json.dumps(known, indent=1), "utf-8")
    print(f"{sum(each['killed'] for each in known.values())} of {len(known)} are killed")


def default_files() -> list[str]:
    folders = (ROOT / "store/resonate_store/machine", ROOT / "sdk/resonate/engine")
    return [str(path.relative_to(ROOT)) for folder in folders for path in sorted(folder.rglob("[!_]*.py"))]


def main() -> None:
    parser = argparse.ArgumentParser(description="Judge the tests by mutants.")
    commands = parser.add_subparsers(required=True, dest="command")
    drawing, covering, running = (commands.add_parser(name) for name in ("draw", "cover", "run"))
    drawing.add_argument("places", type=Path)
    drawing.add_argument("--number", type=int, default=400)
    drawing.add_argument("--seed", type=int, default=20261130)
    drawing.add_argument("files", nargs="*")
    covering.add_argument("coverage")
    covering.add_argument("tests", nargs="*", default=["tests/unit", "tests/spec"])
    running.add_argument("places", type=Path)
    running.add_argument("coverage")
    running.add_argument("results", type=Path)
    options = parser.parse_args()
    if options.command == "draw":
        drawn = draw(options.files or default_files(), options.number, options.seed)
        options.places.write_text(json.dumps(drawn, indent=1), "utf-8")
        return
    from coverage import Coverage  # pyright: ignore[reportMissingImports]

    coverage = Coverage(options.coverage, include=[str(ROOT / file) for file in default_files()])
    if options.command == "cover":
        contexts = SimpleNamespace(pytest_runtest_logstart=lambda nodeid: coverage.switch_context(nodeid))
        with coverage.collect():
            pytest.main([*OPTIONS, *options.tests], [contexts])
        coverage.save()
        return
    coverage.load()
    sys.dont_write_bytecode = True  # two changes of one size within a second would have the same file
    run(json.loads(options.places.read_text("utf-8")), coverage.get_data(), options.results)


if __name__ == "__main__":
    main()
