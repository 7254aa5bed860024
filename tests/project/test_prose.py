"""The prose of the product: short sentences, and field terms instead of metaphors. CONTRIBUTING.md has the rules."""

from functools import cache
from pathlib import Path

import pytest

from tests.support.prose import MAX_WORDS, Sentence, sentences, sentences_of

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "AGENTS.md", "tests/README.md")
FOLDERS = ("sdk", "store", "infra", "functions", "docs", "website", "examples", "benchmarks")


@cache
def prose() -> tuple[Sentence, ...]:
    return tuple(sentences_of(ROOT / place for place in (*FOLDERS, *PAGES)))


def test_sentences_of_the_product_are_short() -> None:
    longest = sorted(prose(), key=lambda sentence: -sentence.words)[:10]
    print("The ten longest sentences:", *(f"{each.words} words: {each}" for each in longest), sep="\n")

    assert len(prose()) > 10_000
    assert longest[0].words <= MAX_WORDS


def test_words_of_the_product_are_the_terms_of_the_field() -> None:
    assert [f"{sentence}: {fault}" for sentence in prose() for fault in sentence.faults()] == []


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("Whoever asks is told.", ["'Whoever' is not used", "'told' is not used"]),
        ("It is no promise. It is no longer one, and no less.", ["'is no' is not used"]),
        ("`whoever` is a name, and [nobody](x.md) is a link.", ["'nobody' is not used"]),
        (f"One {'long ' * 30}sentence. A short one.", ["32 words"]),
        (f"- One {'item ' * 20}\n- Another {'item ' * 20}", []),
        ("```python\nwhoever = nobody\n```\n", []),
    ],
)
def test_prose_checker_finds_faults_in_markdown(text: str, faults: list[str], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)

    assert [fault for sentence in sentences(page) for fault in sentence.faults()] == faults


def test_prose_checker_reads_docstrings_and_comments(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        '"""One.\n\nTwo. Three::\n\n    four\n"""\nX = "five"  # Six\n"""Seven."""\n# Eight\n# is long.\n'
    )

    assert [str(each).split(": ", 1)[1] for each in sentences(module)] == [
        "One.",
        "Two.",
        "Three::",
        "Seven.",
        "Six",
        "Eight is long.",
    ]
