"""Rules for commands: each way not to carry one out, and what the messages say."""

from __future__ import annotations

from pathlib import Path

import pytest

from resonate_infra.lint.checking import check
from resonate_infra.lint.rules import RULES


def found(
    tmp_path: Path, body: str, head: str = "def flow(ctx, items: set, names: list, numbers: set[int])"
) -> list[tuple[str, str]]:
    program = tmp_path / "program.py"
    lines = "\n    ".join(body.split("\n"))
    program.write_text(f"from resonate import Context\n{head}:\n    {lines}\n    yield ctx.run(look)\n")
    return [(each.code, each.message) for each in check([program], frozenset(RULES)).findings]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("ctx.run(look)", "it is not yielded"),
        ("ctx.run(look).options(timeout=3)", "it is not yielded"),
        ("ctx.run(look) if names else None", "it is not yielded"),
        ("names and ctx.run(look)", "it is not yielded"),
        ("[ctx.run(look) for _ in names]", "it is not yielded"),
        ("kept = ctx.run(look)", "`kept` is not used"),
        ("if ctx.run(look): pass", "it is used in place of its result"),
        ("if names and ctx.run(look): pass", "it is used in place of its result"),
        ("while not ctx.run(look): pass", "it is used in place of its result"),
        ("a = 1 if ctx.run(look) else 2", "it is used in place of its result"),
        ("a = ctx.run(look) + 1", "it is used in place of its result"),
        ("a = ctx.run(look) == 1", "it is used in place of its result"),
        ("a = ctx.run(look)[0]", "it is used in place of its result"),
        ("a = f'{ctx.run(look)}'", "it is used in place of its result"),
        ("a = [b for b in ctx.run(look)]", "it is used in place of its result"),
        ("a = len(ctx.run(look))", "it is used in place of its result"),
        ("return [1, ctx.run(look)]", "it is returned"),
        ("yield ctx.run(look, ctx.run(look))", "it is an argument of `ctx.run(...)`"),
        ("yield ctx.rpc('look', key=[{'a': ctx.run(look)}])", "it is an argument of `ctx.rpc(...)`"),
        ("yield ctx.wait(ctx.run(look), timeout=3)", "it is an argument of `ctx.wait(...)`"),
    ],
)
def test_command_that_is_not_carried_out_says_why(body: str, why: str, tmp_path: Path) -> None:
    text = f"`ctx.run(...)` in the workflow `flow` is not carried out, because {why}: write `yield ctx.run(...)`"

    assert found(tmp_path, body) == [("RS101", text)]


@pytest.mark.parametrize(
    "body",
    [
        "yield ctx.run(look)",
        "a = yield ctx.run(look).options(timeout=3)",
        "a = (yield ctx.run(look))[0]",
        "yield helper(ctx.run(look))",
        "yield ctx.all([ctx.run(look), ctx.run(look)])",
        "a = [ctx.run(look)]\nfor b in a: yield b",
        "a = ctx.run(look)\nyield a",
        "a = ctx.run(look)\ndef g(): return a\nyield g()",
        "a = ctx.run(look) if names else None\nif a is not None: yield a",
        "yield (ctx.run(look) if names else ctx.run(look))",
        "if (a := ctx.run(look)) is not None: yield a",
        "yield from ctx.typesafe(ctx.run(look))",
        "yield ctx.all(**dict(a=ctx.run(look)))",
        "yield (names and ctx.run(look))",
        "[(yield ctx.run(look)), (yield ctx.sleep(1))]",
        "return ctx.continue_as(1)",
    ],
)
def test_command_that_is_carried_out_is_not_found(body: str, tmp_path: Path) -> None:
    assert found(tmp_path, body) == []


def test_statement_in_a_function_without_yield_is_found_there(tmp_path: Path) -> None:
    ((code, message),) = found(tmp_path, "pass", "def step(ctx: Context):\n    ctx.run(look)\ndef flow(ctx)")

    assert code == "RS101"
    assert message.startswith("`ctx.run(...)` in the function `step` is not carried out, because it is not yielded: ")


@pytest.mark.parametrize(
    ("body", "dropped"),
    [
        ("yield ctx.begin_run(look)", True),
        ("a = yield ctx.begin_run(look).options(timeout=3)", True),
        ("a = yield ctx.begin_run(look)\nyield a", False),
        ("_ = yield ctx.begin_run(look)", False),
        ("_later = yield ctx.begin_run(look)", False),
        ("names.append((yield ctx.begin_run(look)))", False),
        ("yield ctx.begin_sleep(3)", False),
        ("yield ctx.detached('look')", False),
    ],
)
def test_promise_that_is_not_kept_is_found(body: str, dropped: bool, tmp_path: Path) -> None:
    text = "the promise of `ctx.begin_run(...)` in the workflow `flow` is not kept: the workflow waits for it when it"
    way = "returns, but gets no error of it; keep it and `yield` it, or use `ctx.detached`"

    assert found(tmp_path, body) == ([("RS103", f"{text} {way}")] if dropped else [])


def test_command_that_a_registered_function_returns_is_found(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from resonate import Context, Resonate\nresonate = Resonate()\n"
        "@resonate.register\ndef flow(ctx: Context):\n    return ctx.run(look)\n"
        "def helper(ctx: Context):\n    return ctx.run(look)\n"
    )
    (finding,) = check([program], frozenset(RULES)).findings
    assert (finding.code, finding.line) == ("RS101", 5)
    assert "it is returned" in finding.message


def test_continuation_that_is_not_returned_says_to_return_it(tmp_path: Path) -> None:
    text = "`ctx.continue_as(...)` in the workflow `flow` has no effect: write `return ctx.continue_as(...)`"

    for body in ("ctx.continue_as(1)", "yield ctx.continue_as(1)", "a = ctx.continue_as(1)"):
        assert found(tmp_path, body) == [("RS102", text)]


@pytest.mark.parametrize(
    ("items", "unordered"),
    [
        ("items", True),
        ("set(names)", True),
        ("list(frozenset(names))", True),
        ("{'a', 'b'}", True),
        ("{n for n in names}", True),
        ("set(names) - {'a'}", True),
        ("items.union(names)", True),
        ("{1, 2}", False),
        ("set(range(3))", False),
        ("numbers", False),
        ("sorted(items)", False),
        ("names", False),
        ("dict.fromkeys(names)", False),
        ("unknown", False),
    ],
)
def test_order_of_a_set_is_found_where_commands_follow_it(items: str, unordered: bool, tmp_path: Path) -> None:
    expected = ["RS104"] if unordered else []

    for body in (
        f"for each in {items}: yield ctx.run(look, each)",
        f"yield ctx.all(ctx.run(look, each) for each in {items})",
        f"yield ctx.map(look, {items})",
        f"kept = {items}\nfor each in kept: yield ctx.run(look, each)",
    ):
        assert [code for code, _ in found(tmp_path, body)] == expected, body
    assert found(tmp_path, f"for each in {items}: print(each)") == []
