"""Rules: their selection, and their page in the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from resonate_infra.explanations import explanation_of
from resonate_infra.lint.checking import check
from resonate_infra.lint.rules import RULES, selection
from resonate_store.documented import EXPLAIN

PAGE = (Path(__file__).parents[4] / "docs" / "lint.md").read_text(encoding="utf-8")
NOTES = {"RS203", "RS402"}


def test_selection_without_options_is_all_rules_except_notes() -> None:
    assert selection((), ()) == RULES.keys() - NOTES


@pytest.mark.parametrize(
    ("select", "ignore", "expected"),
    [
        (["RS"], [], set(RULES)),
        (["rs203, RS402"], [], NOTES),
        (["RS1"], ["RS101,RS102", "RS104"], {"RS103"}),
        ([], ["RS0", "RS1", "RS2", "RS3"], {"RS401"}),
        (["RS402"], ["RS4"], set()),
    ],
)
def test_selection_takes_codes_and_beginnings_of_codes(
    select: list[str], ignore: list[str], expected: set[str]
) -> None:
    assert selection(select, ignore) == expected


@pytest.mark.parametrize("text", ["RS9", "clock", "", "RS001,,RS002"])
def test_unknown_code_is_refused_with_the_option(text: str) -> None:
    with pytest.raises(ValueError, match=r"^--ignore names '.*', and no rule begins so: the codes are RS001 to RS402$"):
        selection([], [text])


def test_help_of_each_rule_explains_it() -> None:
    for rule in RULES.values():
        command, _, code = rule.help.rpartition(" ")
        assert command == EXPLAIN
        assert explanation_of(code).title == f"{rule.code} {rule.name}"


def test_page_lists_each_rule_with_its_severity() -> None:
    rows = re.findall(r"^\| \[(RS\d+)\]\(#([\w-]+)\) \| ([\w-]+) \| (\w+) \| (.*) \|$", PAGE, re.MULTILINE)

    assert rows == [(each.code, f"{each.code.lower()}-{each.name}", *each[1:]) for each in RULES.values()]


def test_page_has_an_example_found_and_one_right(tmp_path: Path, subtests: pytest.Subtests) -> None:
    sections = re.split(r"^### (RS\d+) ([\w-]+)$", PAGE, flags=re.MULTILINE)
    assert list(zip(sections[1::3], sections[2::3], strict=True)) == [(each.code, each.name) for each in RULES.values()]
    for code, text in zip(sections[1::3], sections[3::3], strict=True):
        examples = re.findall(r"^```python\n# (found|right)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        assert [kind for kind, _ in examples] == ["found", "right"]
        for kind, content in examples:
            with subtests.test(code, kind=kind):
                program = tmp_path / "program.py"
                program.write_text(content)
                checked = check([program], selection(["RS"], ["RS402"] if code != "RS402" else []))
                assert {each.code for each in checked.findings} == ({code} if kind == "found" else set())
                assert checked.workflows > 0
                assert not checked.unreadable
