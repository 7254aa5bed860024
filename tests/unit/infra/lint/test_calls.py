"""Rules for calls: arguments without a JSON form, names, and steps with effects."""

from __future__ import annotations

from pathlib import Path

import pytest

from resonate_infra.lint.checking import check
from resonate_infra.lint.rules import RULES

HEAD = """
import threading
from resonate import Context, Resonate
resonate = Resonate(group="worker")
class Order: pass
def generate():
    yield 1
"""


def found(tmp_path: Path, body: str, more: str = "") -> list[tuple[str, str]]:
    program = tmp_path / "program.py"
    lines = "\n    ".join(body.split("\n"))
    program.write_text(f"{HEAD}{more}\n@resonate.register\ndef flow(ctx: Context, item: str):\n    {lines}\n")
    return [(each.code, each.message) for each in check([program], frozenset(RULES)).findings]


@pytest.mark.parametrize(
    ("argument", "kind"),
    [
        ("lambda: 1", "a lambda"),
        ("(a for a in item)", "a generator"),
        ("open", None),
        ("threading.Lock()", "a `threading.Lock`"),
        ("ctx", "the context `ctx`"),
        ("generate()", "the generator `generate(...)`"),
        ("generate", "`generate`, which is a function,"),
        ("Order", "`Order`, which is a class,"),
        ("Order()", None),
        ("zip(item)", "`zip(...)`"),
        ("range(3)", "`range(...)`"),
        ("[1, {'a': (lambda: 1,)}]", "a lambda"),
        ("list(a for a in item)", None),
        ("kept", "the promise `kept`"),
        ("lock", "`lock`, which is a `threading.Lock`,"),
        ("{item}", None),
        ("*item", None),
    ],
)
def test_argument_without_a_json_form_is_named(argument: str, kind: str | None, tmp_path: Path) -> None:
    begin = "kept = yield ctx.begin_rpc('flow', item)\nlock = threading.Lock()\n"
    for call in ("ctx.rpc('flow', {})", "ctx.detached('flow', {})", "ctx.rpc('flow', 1, {}).options(timeout=3)"):
        text = f"{kind} cannot travel as an argument of `{call[: call.index('(')]}(...)` in the workflow `flow`"
        expected = [] if kind is None else [("RS302", f"{text}: pass data with a JSON form")]
        assert found(tmp_path, f"{begin}yield {call.format(argument)}\nprint(lock)\nyield kept") == expected


@pytest.mark.parametrize(
    ("command", "stored"),
    [
        ("ctx.run(generate, lambda: 1)", False),
        ("ctx.rpc('flow', key=lambda: 1)", True),
        ("ctx.rpc('flow', result_type=Order)", False),
        ("ctx.rpc('flow', lambda: 1).options(encoder=mine)", False),
        ("ctx.publish('a', lambda: 1)", True),
        ("ctx.send('id', 'a', lambda: 1)", True),
        ("ctx.send('id', 'a', value=lambda: 1)", True),
        ("ctx.map('flow', [lambda: 1], remote=True)", True),
        ("ctx.map(generate, [lambda: 1])", False),
        ("ctx.all(ctx.rpc('flow', lambda: 1))", True),
    ],
)
def test_arguments_are_checked_where_they_are_stored(command: str, stored: bool, tmp_path: Path) -> None:
    assert [code for code, _ in found(tmp_path, f"yield {command}")] == (["RS302"] if stored else [])


def test_arguments_of_a_continuation_are_checked(tmp_path: Path) -> None:
    text = "a lambda cannot travel as an argument of `ctx.continue_as(...)` in the workflow `flow`"

    assert found(tmp_path, "yield ctx.sleep(1)\nreturn ctx.continue_as(lambda: 1)") == [
        ("RS302", f"{text}: pass data with a JSON form")
    ]


@pytest.mark.parametrize(
    ("command", "unknown"),
    [
        ("ctx.rpc('shp')", True),
        ("ctx.detached('shp')", True),
        ("ctx.map('shp', [1], remote=True)", True),
        ("ctx.rpc('flow')", False),
        ("ctx.rpc('shp').options(target='carrier')", False),
        ("ctx.rpc(item)", False),
        ("ctx.promise()", False),
    ],
)
def test_name_that_is_not_registered_is_found(command: str, unknown: bool, tmp_path: Path) -> None:
    text = f"`{command.partition('(')[0]}(...)` in the workflow `flow` calls `shp`"
    way = "and the given paths do not register it: correct the name, register it, or name its workers by"
    expected = [("RS401", f"{text}, {way} `.options(target=...)`")] if unknown else []

    assert found(tmp_path, f"yield {command}") == expected


@pytest.mark.parametrize(
    ("step", "options", "repeats"),
    [
        ("def charge(ctx, a): print(a)", "", True),
        ("def chargeCard(ctx, a): print(a)", "", True),
        ("def send_mail(ctx, a): print(a)", ".options(timeout=3)", True),
        ("def charge(ctx, a): print(ctx.id)", "", False),
        ("def charge(ctx, a): print(ctx.info.idempotency_key)", "", False),
        ("def charge(ctx, a, idempotency_key=1): print(a)", "", False),
        ("def charge(ctx, a): print({'Idempotency-Key': a})", "", False),
        ("def charge(ctx, a): yield ctx.sleep(1)", "", False),
        ("def charge(ctx, a): print(a)", ".options(at_most_once=True)", False),
        ("def charge(ctx, a): print(a)", ".options(retry_policy=Never())", True),
        ("def find_charge(ctx, a): print(a)", "", False),
        ("def discharged(ctx, a): print(a)", "", False),
        ("def read(ctx, a): print(a)", "", False),
    ],
)
def test_step_with_an_effect_and_no_key_is_found(step: str, options: str, repeats: bool, tmp_path: Path) -> None:
    name = step.removeprefix("def ").partition("(")[0]
    text = f"the step `{name}` in the workflow `flow` may run again after it had its effect"
    way = "pass an idempotency key such as `ctx.id` to the service, or give `.options(at_most_once=True)`"

    assert found(tmp_path, f"yield ctx.run({name}, item){options}", step) == (
        [("RS402", f"{text}: {way}")] if repeats else []
    )
