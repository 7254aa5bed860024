"""Rules for state: module variables that change, and variables that a branch shares with its workflow."""

from __future__ import annotations

from pathlib import Path

import pytest

from resonate_infra.lint.checking import check
from resonate_infra.lint.rules import RULES


def found(tmp_path: Path, text: str) -> list[tuple[str, int, str]]:
    program = tmp_path / "program.py"
    program.write_text(text)
    return [(each.code, each.line, each.message) for each in check([program], frozenset(RULES)).findings]


@pytest.mark.parametrize(
    ("variable", "use"),
    [
        ("a = []", "a.append(1)"),
        ("a = {}", "a['b'] = 1"),
        ("a = {}", "del a['b']"),
        ("a = {'b': []}", "a['b'].append(1)"),
        ("from collections import defaultdict\na = defaultdict(int)", "a['b'] += 1"),
        ("import itertools\na = itertools.count()", "next(a)"),
        ("a: list[int] = list()", "a.clear()"),
        ("a = 1", "global a; a += 1"),
        ("", "global a; a = 1"),
    ],
)
def test_module_variable_written_in_a_workflow_is_found(variable: str, use: str, tmp_path: Path) -> None:
    ((code, line, message),) = found(tmp_path, f"{variable}\ndef flow(ctx):\n    {use}\n    yield ctx.sleep(1)\n")

    assert (code, line) == ("RS008", variable.count("\n") + 3)
    assert message == (
        "the workflow `flow` writes the module variable `a`, which a replay in another process does not find:"
        " return the value, or write it in a step"
    )


@pytest.mark.parametrize(
    ("variable", "elsewhere", "changes"),
    [
        ("a = []", "a.append(1)", True),
        ("a = 1", "global a; a = 2", True),
        ("a = []", "print(a)", False),
        ("a = []", "a = []; a.append(1)", False),
        ("a = other()", "a.append(1)", False),
        ("import a", "a.append(1)", False),
    ],
)
def test_module_variable_read_is_found_if_it_changes(
    variable: str, elsewhere: str, changes: bool, tmp_path: Path
) -> None:
    text = f"{variable}\ndef step(ctx):\n    {elsewhere}\ndef flow(ctx):\n    yield ctx.run(step, a)\n    print(a)\n"

    assert found(tmp_path, text) == (
        [
            (
                "RS008",
                5,
                "the workflow `flow` reads the module variable `a`, which other code of this file changes: read it in a"
                " step, or pass it as an argument",
            )
        ]
        if changes
        else []
    )


@pytest.mark.parametrize(
    ("variable", "branch", "shared"),
    [
        ("a = 0", "nonlocal a; a += 1", True),
        ("a = []", "a.append(1)", True),
        ("a = {}", "a['b'] = 1", True),
        ("a = {1}", "a.add(1)", True),
        ("a = ctx.get_dependency('a')", "a.add(1)", False),
        ("a = []", "a = []; a.append(1)", False),
        ("a = []", "print(a)", False),
        ("a = 0", "nonlocal a; print(a)", False),
    ],
)
@pytest.mark.parametrize("call", ["ctx.run(branch)", "ctx.begin_run(branch)", "ctx.map(branch, [1])"])
def test_variable_that_a_branch_changes_is_found(
    variable: str, branch: str, shared: bool, call: str, tmp_path: Path
) -> None:
    text = f"def flow(ctx):\n    {variable}\n    def branch(c):\n        {branch}\n    b = yield {call}\n    yield b\n"

    assert found(tmp_path, text) == (
        [
            (
                "RS301",
                4,
                "`branch` changes `a` of the workflow `flow`, and a replay does not repeat that: return the value, and"
                " use it where the call is awaited",
            )
        ]
        if shared
        else []
    )


def test_variable_outside_of_the_workflow_is_not_shared(tmp_path: Path) -> None:
    text = "def test():\n    a = []\n    def step(ctx): a.append(1)\n    def flow(ctx):\n        yield ctx.run(step)\n"

    assert found(tmp_path, text) == []


def test_parameter_is_a_container_if_annotated_so(tmp_path: Path) -> None:
    text = "def flow(ctx, a{}):\n    yield ctx.run(lambda _: a.append(1))\n"

    assert [code for code, *_ in found(tmp_path, text.format(": list[str]"))] == ["RS301"]
    assert found(tmp_path, text.format("")) == []
