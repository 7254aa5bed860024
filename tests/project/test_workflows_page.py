"""The page for users about workflows: its blocks are the files that they say they are, and pytest passes on them."""

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

PAGE = Path(__file__).parents[2] / "docs" / "workflows.md"
BLOCK = re.compile(r"^```python\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_workflows_page_runs_block_by_block(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    text = PAGE.read_text(encoding="utf-8")
    files = dict(BLOCK.findall(text))
    assert len(files) == text.count("```python"), "a block that names no file is not run"
    for name, content in files.items():
        (pytester.path / name).write_text(content, encoding="utf-8")

    result = pytester.runpytest_subprocess("-q")

    result.assert_outcomes(passed=sum(content.count("\ndef test_") for content in files.values()))
