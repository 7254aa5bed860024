"""Output: text for people, JSON for scripts, SARIF for services."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from resonate_infra.lint.checking import Checked, check
from resonate_infra.lint.output import as_json, as_sarif, summary, text
from resonate_infra.lint.rules import RULES

PROGRAM = "import time\n\n\ndef flow(ctx):\n    yield ctx.run(f, 'ä', time.time())\n    ctx.sleep(1)\n"
CLOCK = (
    "`time.time` in the workflow `flow` gives another time at each replay: write `yield ctx.time.time()`, or read the"
    " clock in a step"
)


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checked:
    monkeypatch.chdir(tmp_path)
    Path("a b.py").write_text(PROGRAM, encoding="utf-8")
    Path("c.py").write_text("def f(:\n")
    return check([Path("a b.py"), Path("c.py")], frozenset(RULES))


def test_text_is_one_line_for_each_finding(checked: Checked) -> None:
    first, second = text(checked).split("\n")

    assert first == f"a b.py:5:27: RS001 {CLOCK}"
    assert second.startswith("a b.py:6:5: RS101 `ctx.sleep(...)` in the workflow `flow` is not carried out")
    assert summary(checked) == "1 file, 1 workflow, 2 findings"


def test_page_shows_the_text_of_a_finding() -> None:
    page = (Path(__file__).parents[4] / "docs" / "lint.md").read_text(encoding="utf-8")
    assert f"src/shop.py:12:13: RS001 {CLOCK.replace('`flow`', '`order`')}\n" in page


def test_text_escapes_characters_that_a_terminal_obeys(tmp_path: Path) -> None:
    program = tmp_path / "a\x1b[2Jb.py"
    program.write_text(PROGRAM, encoding="utf-8")

    shown = text(check([program], frozenset(RULES)))

    assert "a\\x1b[2Jb.py:5:27" in shown
    assert "\x1b" not in shown


def test_json_has_the_place_and_the_rule(checked: Checked) -> None:
    document = json.loads(as_json(checked))

    assert document["findings"][0] == {
        "code": "RS001",
        "message": CLOCK,
        "path": "a b.py",
        "line": 5,
        "column": 27,
        "end_line": 5,
        "end_column": 38,
        "workflow": "flow",
        "name": "clock",
        "severity": "error",
        "help": "resonate explain RS001",
    }
    (unreadable,) = document["unreadable"]
    assert (unreadable["path"], unreadable["line"]) == ("c.py", 1)
    assert (document["files"], document["workflows"]) == (1, 1)


def test_sarif_names_rules_places_and_unreadable_files(checked: Checked) -> None:
    log: Any = json.loads(as_sarif(checked))
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    first = run["results"][0]

    assert log["version"] == "2.1.0"
    assert [rule["id"] for rule in rules] == list(RULES)
    assert {rule["id"] for rule in rules if not rule["defaultConfiguration"]["enabled"]} == {"RS203", "RS402"}
    assert run["columnKind"] == "unicodeCodePoints"
    assert rules[first["ruleIndex"]]["id"] == first["ruleId"] == "RS001"
    assert (first["level"], first["message"]) == ("error", {"text": CLOCK})
    assert first["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "a%20b.py"},
                "region": {"startLine": 5, "startColumn": 27, "endLine": 5, "endColumn": 38},
            }
        }
    ]
    (invocation,) = run["invocations"]
    (notification,) = invocation["toolExecutionNotifications"]
    assert invocation["executionSuccessful"] is False
    assert notification["message"]["text"].startswith("is not Python: ")
    assert notification["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": "c.py"}


def test_sarif_of_an_absolute_path_is_a_file_uri(tmp_path: Path) -> None:
    program = tmp_path / "a b.py"
    program.write_text(PROGRAM, encoding="utf-8")

    log: Any = json.loads(as_sarif(check([program], frozenset(RULES))))

    location = log["runs"][0]["results"][0]["locations"][0]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == program.as_uri()


def test_check_without_findings_has_empty_lists() -> None:
    nothing = check([], frozenset(RULES))

    assert text(nothing) == ""
    assert summary(nothing) == "0 files, 0 workflows, no finding"
    assert json.loads(as_json(nothing)) == {"findings": [], "unreadable": [], "files": 0, "workflows": 0}
    assert json.loads(as_sarif(nothing))["runs"][0]["results"] == []
