"""Blocks of code in Markdown pages, and what comments of a page say about them.

- `<!-- not run: REASON -->` before a block: it is only parsed. `REASONS` has the reasons, and checks them.
- `<!-- python not run: REASON -->`: the same for every Python block of the page.
- `<!-- setup: CODE -->`: Python that runs at this place, and that readers do not see.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[3]
_COMMENT = re.compile(r"<!-- (not run|python not run|setup):\s(.*?)\s*-->", re.DOTALL)
_NAME = re.compile(r"# ([\w.-]+\.(?:py|ini|toml))\n")
_TESTED = re.compile(r"tested by (\S+)")

REASONS = {
    "needs an AWS account": r"\b(aws|sam|lambda|dynamo(db)?|repin)\b|--table|RESONATE_TABLE",
    "needs Docker": r"\bsam local\b",
    "needs an exporter of OpenTelemetry": r"opentelemetry",
    "needs the environment of the CDK": r"\baws_cdk\b",
    "shows other programs": r"\b(celery|apply_async|app\.task|asyncio)\b",
    "runs until Ctrl-C": r"\bresonate (dev|console)\b",
    "needs a server": r"http://localhost:\d+",
    "installs packages": r"\b(pip|make)\b",
}
"""The reasons for not running a block, with what the block must contain."""
FRAGMENT = "a fragment"
"""The reason of Python that cannot run alone: it yields outside of a function, or uses names that are not defined."""


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        line: the line of its page at which its text begins.
        language: what follows the fence; "setup" for a hidden block.
        reason: why it is not run, or None.
    """

    page: Path
    line: int
    language: str
    text: str
    reason: str | None = None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name of the file that the block is, from its first line."""
        found = _NAME.match(self.text)
        return found.group(1) if found else None

    @property
    def fault(self) -> str | None:
        """What is wrong with the reason, if there is one."""
        if self.reason is None:
            return None
        if tested := _TESTED.fullmatch(self.reason):
            test = ROOT / tested.group(1)
            if not test.is_file() or self.page.name not in test.read_text(encoding="utf-8"):
                return f"{tested.group(1)} does not read {self.page.name}"
        elif self.reason == FRAGMENT:
            if self.language != "python" or not is_fragment(self.text):
                return "it is not a fragment: it can run"
        elif self.reason not in REASONS:
            return f"{self.reason!r} is not one of the reasons in tests/support/docs/blocks.py"
        elif not re.search(REASONS[self.reason], self.text, re.IGNORECASE):
            return f"nothing in it {self.reason}"
        return None


def is_fragment(text: str) -> bool:
    """Return whether Python code cannot run alone."""
    try:
        compile(text, "<block>", "exec")
    except SyntaxError:
        return True
    used: set[str] = set()
    defined = set(dir(builtins))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else defined).add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
        elif isinstance(node, ast.alias):
            defined.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            defined.add(node.name)
    return not used <= defined


def pages() -> list[Path]:
    """Return the pages whose blocks are checked: README and the documentation, without the decisions."""
    docs = [page for page in sorted((ROOT / "docs").rglob("*.md")) if "decisions" not in page.parts]
    return [ROOT / "README.md", *docs]


@cache
def blocks_of(page: Path) -> Sequence[Block]:
    """Return the blocks of a page in their order, also those in lists."""
    return tuple(_blocks_in(page))


def _blocks_in(page: Path) -> Iterator[Block]:
    reason = everywhere = None
    for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
        line = (token.map or [0])[0]
        if token.type == "html_block":
            for kind, text in _COMMENT.findall(token.content):
                if kind == "setup":
                    yield Block(page, line + 1, "setup", text)
                elif kind == "not run":
                    reason = text
                else:
                    everywhere = text
        elif token.type == "fence":
            language = token.info.split(" ")[0]
            yield Block(
                page, line + 2, language, token.content, reason or (everywhere if language == "python" else None)
            )
            reason = None
        elif token.type == "inline":
            reason = None
