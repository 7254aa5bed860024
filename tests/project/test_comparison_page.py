"""The comparison with other systems: each row has a source, and our figures are those of the code."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

import resonate
from resonate.workflow.options import DEFAULT_TIMEOUT
from resonate_store.model.limits import MAX_VALUE_BYTES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "comparison.md"
OURS = "Resonate Serverless"
SYSTEMS = [OURS, "Lambda durable functions", "Step Functions", "Temporal", "DBOS", "Restate", "Inngest"]
LINK = re.compile(r"\[[^]]+\]\(([^)]+)\)")
DATE = re.compile(r"\b20\d\d-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12]\d|3[01]))?\b")
TEST = re.compile(r"`(tests/[^`]+)`")


def tables() -> dict[str, list[list[str]]]:
    """Return the rows of each table, by the heading above it."""
    found: dict[str, list[list[str]]] = {}
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        heading, text = section.split("\n", 1)
        rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in text.splitlines() if line.startswith("|")]
        if rows:
            assert rows[0][-1] == "source", heading
            found[heading] = rows[2:]
    return found


def our_row(heading: str) -> str:
    return next(" | ".join(row) for row in tables()[heading] if row[0] == OURS)


@pytest.mark.parametrize("heading", sorted(tables()))
def test_row_of_comparison_has_a_dated_source_or_a_test(heading: str, subtests: pytest.Subtests) -> None:
    for row in tables()[heading]:
        with subtests.test(row=row[:2]):
            *_, source = row
            tests = TEST.findall(source)
            addresses = [address for address in LINK.findall(source) if address.startswith("https://")]
            assert tests or DATE.search(source), "neither a date nor a test"
            assert tests or addresses or "costs.md" in source, "a date without a page"
            assert [path for path in tests if not (ROOT / path).exists()] == []
            assert row[0] != OURS or tests, "our own row is not checked"


def test_table_of_comparison_has_all_systems() -> None:
    ahead = "Where other systems are ahead"
    assert {heading: [row[0] for row in rows] for heading, rows in tables().items() if heading != ahead} == {
        heading: SYSTEMS for heading in tables() if heading != ahead
    }
    assert len(tables()) == 15
    assert [name for row in tables()[ahead] if (name := row[0])] == SYSTEMS[1:]


def test_comparison_has_figures_of_the_code() -> None:
    template: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
    parameters, resources = template["Parameters"], template["Resources"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert parameters["PayloadLimit"]["Default"] == MAX_VALUE_BYTES == 5 << 20
    assert parameters["PayloadLimit"]["MaxValue"] == 256 << 20
    assert "5 MB, up to 256 MB by a parameter" in our_row("Limits")
    assert DEFAULT_TIMEOUT == 365 * 86_400
    assert "A year unless a timeout says otherwise" in our_row("Limits")
    assert parameters["PayloadThreshold"]["Default"] == 32 << 10
    assert "above 32 KB" in our_row("Where the state is, and what runs")
    functions = [each for each in resources.values() if each["Type"] == "AWS::Serverless::Function"]
    assert len(functions) == 4
    assert "Four Lambda functions" in our_row("Where the state is, and what runs")
    assert project["requires-python"] == ">=3.11"
    assert "Python 3.11 and later" in our_row("Languages")
    assert f"Alpha, version {resonate.__version__}." in our_row("Maturity")
    assert "Development Status :: 3 - Alpha" in project["classifiers"]
    assert parameters["WorkerTimeout"]["MaxValue"] == 15 * 60
    assert "for more than 15 minutes" in PAGE.read_text(encoding="utf-8")


def test_comparison_has_prices_of_the_costs_page() -> None:
    costs = (ROOT / "docs" / "costs.md").read_text(encoding="utf-8")
    compared = costs[costs.index("## Compared") : costs.index("## Every write")]
    ours = dict(re.findall(r"^\| ([^|]+) \| (\$[\d.]+) \|", compared, re.MULTILINE))
    step, ten = ours["a local step"], ours["a workflow of 10 steps"]
    sleeps = [ours[f"a sleep of {length}"] for length in ("20 seconds", "10 minutes", "a day")]

    assert f"{step} for local steps. A million workflows of ten steps cost {ten}" in our_row(
        "What a million steps cost"
    )
    assert all(float(a[1:]) < float(b[1:]) for a, b in pairwise(sleeps))
    assert f"{sleeps[0]} to {sleeps[-1]}" in our_row("What waiting costs")
    assert f"$8 a million, and {sleeps[0]} to {sleeps[-1]} here" in PAGE.read_text(encoding="utf-8")
    assert "charge $8 for a million operations" in " ".join(compared.split())
    assert "charge $25 for a million state transitions" in " ".join(compared.split())
    assert "about $13 a million" in costs


def test_links_of_comparison_lead_to_pages_and_headings() -> None:
    for address in LINK.findall(PAGE.read_text(encoding="utf-8")):
        if address.startswith("https://"):
            continue
        path, _, anchor = address.partition("#")
        page = (PAGE.parent / path).resolve() if path else PAGE
        assert page.exists(), address
        headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        anchors = {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}
        assert not anchor or anchor in anchors, address
