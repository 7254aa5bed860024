"""Rules for handlers and `finally` blocks: what they catch, and what the messages say."""

from __future__ import annotations

from pathlib import Path

import pytest

from resonate_infra.lint.checking import check
from resonate_infra.lint.rules import RULES


def found(tmp_path: Path, body: str) -> list[tuple[str, str]]:
    program = tmp_path / "program.py"
    lines = "\n    ".join(body.split("\n"))
    program.write_text(f"from contextlib import suppress\ndef flow(ctx):\n    {lines}\n    yield ctx.sleep(1)\n")
    return [(each.code, each.message) for each in check([program], frozenset(RULES)).findings]


@pytest.mark.parametrize(
    ("handler", "caught"),
    [
        ("except: pass", "except:"),
        ("except BaseException: pass", "except BaseException"),
        ("except GeneratorExit: pass", "except GeneratorExit"),
        ("except (ValueError, BaseException) as error: print(error)", "except BaseException"),
        ("except BaseException: raised = lambda: (yield)", "except BaseException"),
        ("except ValueError: raise\nexcept BaseException: pass", "except BaseException"),
    ],
)
def test_handler_that_catches_every_exit_is_found(handler: str, caught: str, tmp_path: Path) -> None:
    text = f"`{caught}` in the workflow `flow` also catches each suspension and cancellation"

    assert found(tmp_path, f"try: yield ctx.sleep(1)\n{handler}") == [
        ("RS201", f"{text}: catch `Exception`, or raise it again at the end")
    ]
    assert found(tmp_path, f"try: print(1)\n{handler}") == []


@pytest.mark.parametrize(
    "handler",
    [
        "except Exception: pass",
        "except BaseException: raise",
        "except BaseException as error:\n    if error: raise error",
        "except GeneratorExit: raise\nexcept BaseException: pass",
        "except Mine: pass",
    ],
)
def test_handler_that_lets_a_workflow_end_is_not_found(handler: str, tmp_path: Path) -> None:
    assert found(tmp_path, f"try: yield ctx.sleep(1)\n{handler}") == []


def test_suppressed_exit_is_found_around_a_command_only(tmp_path: Path) -> None:
    assert [code for code, _ in found(tmp_path, "with suppress(BaseException): yield ctx.sleep(1)")] == ["RS201"]
    assert found(tmp_path, "with suppress(BaseException): print(1)") == []
    assert found(tmp_path, "with suppress(ValueError): yield ctx.sleep(1)") == []


@pytest.mark.parametrize(
    ("block", "codes"),
    [
        ("return 1", ["RS202"]),
        ("if ctx: return 1", ["RS202"]),
        ("for a in b: return 1", ["RS202"]),
        ("for a in b: break", []),
        ("while b:\n        if b: continue", []),
        ("def g(): return 1", []),
        ("yield ctx.sleep(2)", ["RS203"]),
        ("print(1)", []),
    ],
)
def test_finally_block_is_found_if_it_drops_or_waits(block: str, codes: list[str], tmp_path: Path) -> None:
    assert [code for code, _ in found(tmp_path, f"try: yield ctx.sleep(1)\nfinally:\n    {block}")] == codes
    assert found(tmp_path, f"try: print(1)\nfinally:\n    {block}") == []


@pytest.mark.parametrize("word", ["break", "continue"])
def test_finally_block_left_for_its_loop_is_found(word: str, tmp_path: Path) -> None:
    text = f"`{word}` in a `finally` block of the workflow `flow` drops the error that ends the workflow"

    assert found(tmp_path, f"for a in b:\n    try: yield ctx.sleep(1)\n    finally: {word}") == [
        ("RS202", f"{text}: put it behind the block")
    ]
