"""Checks of prose: the sentences of docs, docstrings and comments, their length, and words that are not used.

`python -m tests.support.prose PATH ...` prints what is wrong in these files and directories.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

MAX_WORDS = 30

# Metaphors and vague actors. Each stands for a field's term or a named actor.
BANNED = tuple(
    re.compile(rf"\b(?:{turn})\b", re.IGNORECASE)
    for turn in (
        "who(?:ever|m|mever)?",
        "nobody|no one|somebody|someone|others",
        "(?:is|are|was|were|be|been) no(?! (?:longer|more|less|later|earlier|fewer)\\b)",
        "(?:let|lets|letting) (?:\\w+ )?go",
        "hand(?:s|ed|ing)? (?:\\w+ )?over",
        "tell(?:s|ing)?|told",
        "mind(?:s|ed|ing)?",
        "(?:come|comes|came|coming) (?:to|of)",
        "(?:take|takes|taken|took|taking) (?:it |them |this |one )?for(?! granted\\b)",
        "(?:go|goes|going|went|gone) on",
        "stand|stands|standing|stood",
        "(?:make|makes|made|making) (?:\\w+ )?good",
        "same breath",
        "in the long run|news to|is news",
    )
)

_WORD = re.compile(r"\S*[^\W_]\S*")
_CODE = re.compile(r"`+[^`]*`+")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_ADDRESS = re.compile(r"https?://\S+")
_END = re.compile(r"(?<=[.!?])[)\"'*_]*\s+(?=[A-Z0-9`\"'(*_\[])")
_ABBREVIATION = re.compile(r"\b(e\.g|i\.e|etc|vs|cf|no)\.", re.IGNORECASE)
# A new list item, argument, heading, quote or row begins a new sentence.
_ITEM = re.compile(r"^\s*(?:[-*+] |\d+[.)] |#+ |> |\||[A-Za-z_*][\w, *]{0,40}: *(?:\s|$))")


class Sentence(NamedTuple):
    """A sentence, and the file and line where its paragraph begins."""

    path: Path
    line: int
    text: str

    @property
    def words(self) -> int:
        """How many words it has; code in backticks counts as one."""
        return len(_WORD.findall(self.text))

    def faults(self) -> Iterator[str]:
        """What is wrong with it."""
        if self.words > MAX_WORDS:
            yield f"{self.words} words"
        for turn in BANNED:
            if found := turn.search(self.text):
                yield f"'{found.group()}' is not used"

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


def sentences(path: Path) -> Iterator[Sentence]:
    """The sentences of a Markdown file, or of the docstrings and comments of a Python file."""
    text = path.read_text(encoding="utf-8")
    for line, lines in _markdown(text) if path.suffix == ".md" else _python(text):
        yield from _split(path, line, lines)


def sentences_of(places: Iterable[Path]) -> Iterator[Sentence]:
    """The sentences of these files, and of the Python and Markdown files of these directories."""
    for place in places:
        files = [place] if place.is_file() else sorted(file for end in ("md", "py") for file in place.rglob(f"*.{end}"))
        for file in files:
            if not {"node_modules", ".venv", "__pycache__"}.intersection(file.parts):
                yield from sentences(file)


def _markdown(text: str) -> Iterator[tuple[int, list[str]]]:
    """Everything between the fences of code."""
    lines: list[str] = []
    start, fence = 1, None
    for number, line in enumerate(text.splitlines(), 1):
        mark = re.match(r"\s*(```+|~~~+)", line)
        if mark and fence in (None, mark.group(1)):
            yield start, lines
            fence = None if fence else mark.group(1)
            start, lines = number + 1, []
        elif fence is None:
            lines.append(line)
    yield start, lines


def _python(text: str) -> Iterator[tuple[int, list[str]]]:
    """Docstrings, strings that follow a name and document it, and blocks of comments."""
    for node in _statements(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, _without_code(node.value.value.splitlines())
    block: list[str] = []
    first = last = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT or re.match(r"# (?:type|pyright|noqa|ruff|fmt)\b|#!", token.string):
            continue
        if token.start[0] != last + 1 or token.line.strip() != token.string:
            yield first, block
            block, first = [], token.start[0]
        block.append(token.string.lstrip("#: "))
        last = token.start[0]
    yield first, block


def _statements(module: ast.Module) -> Iterator[ast.AST]:
    """Every statement, without the expressions in it."""
    found: list[ast.AST] = [module]
    for node in found:
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            inside = getattr(node, block, ())
            found.extend(inside if isinstance(inside, list) else ())
        yield node


def _without_code(lines: list[str]) -> list[str]:
    """A docstring without its examples: blocks behind '::', fences and prompts."""
    kept: list[str] = []
    code = fence = False
    for line in lines:
        if line.lstrip().startswith("```"):
            fence, line = not fence, ""
        elif code and line.strip() and not line.startswith((" " * 4, "\t")):
            code = False
        kept.append("" if code or fence or line.lstrip().startswith((">>>", "...")) else line)
        if line.rstrip().endswith("::"):
            code = True
    return kept


def _split(path: Path, line: int, lines: list[str]) -> Iterator[Sentence]:
    paragraph: list[str] = []
    start = line
    for number, text in enumerate([*lines, ""], line):
        if paragraph and (not text.strip() or _ITEM.match(text)):
            yield from _of_paragraph(path, start, paragraph)
            paragraph = []
        if not paragraph:
            start = number
        if text.strip():
            paragraph.append(text.strip())


def _of_paragraph(path: Path, line: int, paragraph: list[str]) -> Iterator[Sentence]:
    text = _LINK.sub(r"\1", _ADDRESS.sub("ADDRESS", _CODE.sub("CODE", " ".join(paragraph))))
    text = _ABBREVIATION.sub(lambda found: found.group(1), text)
    cells = text.split("|") if text.startswith("|") else [text]
    for cell in cells:
        for sentence in _END.split(cell):
            if sentence.strip():
                yield Sentence(path, line, sentence.strip())


if __name__ == "__main__":
    for sentence in sentences_of(map(Path, sys.argv[1:])):
        for fault in sentence.faults():
            print(f"{sentence}  [{fault}]")
