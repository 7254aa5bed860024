"""What the corpus must contain: each kind with each status it can have, and each rule."""

from __future__ import annotations

import re
from pathlib import Path

from resonate_infra.conformance.reading import corpus, load
from resonate_infra.conformance.runner import Runner
from resonate_store.local.memory import MemoryStore
from resonate_store.protocol.forms import DATA
from tests.support.answers import statuses_of_the_machine
from tests.support.corpus import SCRIPTS, STATUSES
from tests.support.services import service_over

RULES = {f"rule {number}" for number in range(1, 14)}
SECTIONS = {f"1.{number}" for number in range(2, 10)} | {"2.1", "2.4", "3.1", "3.2", "3.3"}
REQUESTS = {f"1.5 {kind}" for kind in STATUSES if not kind.startswith(("schedule.", "debug."))}

DOCUMENT = Path(__file__).parents[2] / "docs" / "conformance.md"


def test_corpus_has_each_kind_with_each_status() -> None:
    found: dict[str, set[int]] = {kind: set() for kind in STATUSES}
    for script in SCRIPTS:
        for step in script.steps:
            if step.request:
                found.setdefault(step.command, set()).add(step.status)
            elif step.command == "tick":
                found["debug.tick"].add(200)

    assert {kind: sorted(found[kind]) for kind in STATUSES} == {kind: sorted(all) for kind, all in STATUSES.items()}
    assert all(statuses == {400} for kind, statuses in found.items() if kind not in STATUSES)


def test_statuses_are_those_of_each_protocol_request() -> None:
    assert STATUSES.keys() - DATA.keys() == {"debug.start", "debug.stop", "debug.reset", "debug.tick", "debug.snap"}
    assert DATA.keys() - STATUSES.keys() == {"execution.delete"}  # a deployed API refuses it


def test_statuses_are_those_of_the_machine() -> None:
    assert statuses_of_the_machine() == {kind: found for kind, found in STATUSES.items() if kind in DATA}


def test_corpus_covers_each_rule_and_section() -> None:
    covered = {subject for script in SCRIPTS for subject in script.covers}
    sections = {subject.partition(" ")[0] for subject in covered} - {"rule"}

    assert sections == SECTIONS
    assert {subject for subject in covered if subject.startswith("1.5 ")} == REQUESTS
    assert {subject for subject in covered if subject.startswith("rule ")} == RULES


def test_corpus_is_listed_in_the_documentation() -> None:
    documented: dict[str, list[str]] = {}
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("### "):
            listed = documented.setdefault(line.removeprefix("### ").partition(":")[0], [])
        elif line.startswith("- `"):
            listed.append(line)
    covering: dict[str, list[str]] = {}
    for script in SCRIPTS:
        for subject in script.covers:
            covering.setdefault(subject, []).append(f"- `{script.file}`: {script.title}")

    assert documented == covering


def test_script_in_the_documentation_passes(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path / "example.yaml"
    path.write_text(example, encoding="utf-8")

    for script in load(path):
        Runner(service_over(MemoryStore).answer).run(script)


def test_corpus_titles_are_unique() -> None:
    titles = [script.title for script in SCRIPTS]

    assert sorted(titles) == sorted(set(titles))


def test_corpus_is_part_of_the_package() -> None:
    assert {path.parent for path in corpus()} == {
        Path(__file__).parents[2] / "infra" / "resonate_infra" / "conformance" / "corpus"
    }
