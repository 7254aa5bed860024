"""The pages of the guide and of the patterns: the Python blocks of a page run from top to bottom, in one module."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted([*(DOCS / "guide").glob("*.md"), *(DOCS / "patterns").glob("*.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BEFORE = re.compile(r"<!-- not run: .+ -->\n+\Z")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_page_runs_block_by_block(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page.read_text(encoding="utf-8")
    module = ModuleType(f"page_{page.stem.replace('-', '_')}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(tmp_path)
    for name in ("RESONATE_TABLE", "RESONATE_URL"):
        monkeypatch.delenv(name, raising=False)

    for block in BLOCK.finditer(text):
        if BEFORE.search(text[: block.start()]) is None:
            lines_above = "\n" * text.count("\n", 0, block.start(1))
            exec(compile(lines_above + block.group(1), str(page), "exec"), vars(module))


def test_index_of_guide_and_patterns_lists_all_pages() -> None:
    for folder in {page.parent for page in PAGES}:
        index = (folder / "index.md").read_text(encoding="utf-8")
        pages = [page.name for page in PAGES if page.parent == folder and page.stem != "index"]
        assert [name for name in pages if f"]({name})" not in index] == [], folder


def test_python_blocks_of_guide_pages_are_found() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert len(BLOCK.findall(text)) == text.count("```python"), page
