"""The page for users about testing: its blocks are the files that they say they are, and pytest passes on them."""

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "testing.md"
BLOCK = re.compile(r"^```(?:python|ini)\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_testing_page_runs_block_by_block(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    text = PAGE.read_text(encoding="utf-8")
    files = dict(BLOCK.findall(text))
    assert len(files) == text.count("```") / 2, "a block that names no file is not run"
    for name, content in files.items():
        (pytester.path / name).write_text(content, encoding="utf-8")

    template = f"resonate_template={ROOT / 'template.yaml'}"
    result = pytester.runpytest_subprocess("-p", "resonate_infra.testing.plugin", "-q", "-o", template)

    tests = sum(content.count("\ndef test_") for content in files.values())
    # One test has four more places to die at, and two run on both stacks.
    result.assert_outcomes(passed=tests + 4 + 2)
