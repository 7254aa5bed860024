"""Blocks of code in README and the documentation: each is parsed, and run unless a comment says why not."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.support.docs.blocks import ROOT, Block, blocks_of, pages
from tests.support.docs.parsing import BlockError, accept, commands_of, parse
from tests.support.docs.running import PageRun, as_shown

RUN = ("python", "console", "setup", "ini")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).with_suffix("").as_posix().replace("/", "-")


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_blocks_of_page_are_of_their_language(page: Path, subtests: pytest.Subtests) -> None:
    for block in blocks_of(page):
        with subtests.test(line=block.line):
            parse(block)
            assert block.fault is None


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_commands_in_sentences_are_those_of_the_command_line(page: Path, subtests: pytest.Subtests) -> None:
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")):
        for child in token.children or ():
            if child.type == "code_inline" and re.match(r"resonate [a-z]", child.content):
                with subtests.test(child.content):
                    accept(shlex.split(child.content), whole=False)


@pytest.mark.parametrize(
    "page", [page for page in pages() if any(b.language in RUN and not b.reason for b in blocks_of(page))], ids=name_of
)
def test_blocks_of_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    blocks = [block for block in blocks_of(page) if block.language in RUN and block.reason is None]

    PageRun(page, blocks, tmp_path, monkeypatch).run()


def a_block(text: str, tmp_path: Path) -> Block:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    [block] = blocks_of(page)
    return block


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "def f(:"),
        ("yaml", "a: [1"),
        ("json", "{'a': 1}"),
        ("toml", "a = "),
        ("ini", "a = 1"),
        ("bash", "ls"),
        ("", "ls"),
        ("console", "ls"),
        ("console", "$ echo 'a"),
        ("console", "$ resonate nothing"),
        ("console", "$ cd x && resonate tree"),
        ("console", "$ resonate tree a --deep"),
        ("console", "$ resonate executions list --state lost"),
        ("console", "$ make everything"),
    ],
)
def test_block_that_its_language_refuses_is_a_fault(language: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(BlockError):
        parse(a_block(f"```{language}\n{text}\n```\n", tmp_path))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<!-- not run: a fragment -->\n```python\nyield 1\n```\n", "a fragment"),
        ("- item\n\n  <!-- not run: a fragment -->\n  ```python\n  yield 1\n  ```\n", "a fragment"),
        ("<!-- python not run: a fragment -->\n\nA sentence.\n\n```python\nyield 1\n```\n", "a fragment"),
        ("<!-- not run: a fragment -->\n\nA sentence.\n\n```python\nx = 1\n```\n", None),
        ("```python\nx = 1\n```\n", None),
    ],
)
def test_comment_before_a_block_is_its_reason(text: str, reason: str | None, tmp_path: Path) -> None:
    assert a_block(text, tmp_path).reason == reason


@pytest.mark.parametrize(
    "reason", ["later", "needs an AWS account", "tested by tests/project/test_none.py", "tested by tests/README.md"]
)
def test_reason_that_does_not_hold_is_a_fault(reason: str, tmp_path: Path) -> None:
    assert a_block(f"<!-- not run: {reason} -->\n```python\nx = 1\n```\n", tmp_path).fault


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("value = yield ctx.run(step)", True),
        ("    left -= 1", True),
        ("resonate.stop()", True),
        ("def f(ctx, x=1, *a):\n    return ctx.run(len, x, a)\nf(None)", False),
        ("import os.path as p\ntry:\n    p.x\nexcept Exception as e:\n    print(e)", False),
    ],
)
def test_fragment_is_python_that_cannot_run_alone(text: str, fragment: bool, tmp_path: Path) -> None:
    block = a_block(f"<!-- not run: a fragment -->\n```python\n{text}\n```\n", tmp_path)

    assert (block.fault is None) is fragment


def test_console_block_is_read_as_commands_and_outputs(tmp_path: Path) -> None:
    text = "$ echo 'a\n    b' && resonate tree x   # why\na\n$ cat \\\n    y; ls & pwd\n"

    first, second = commands_of(a_block(f"```console\n{text}```\n", tmp_path))

    assert (list(first.simple()), first.output) == ([["echo", "a\n    b"], ["resonate", "tree", "x"]], ["a"])
    assert (list(second.simple()), second.output) == ([["cat", "y"], ["ls"], ["pwd"]], [])


def test_shown_output_is_compared_without_times() -> None:
    assert as_shown("a  pending  for 2m 5s\n\nat 2026-01-01T00:00:00Z") == ["a pending for TIME", "at TIME"]
