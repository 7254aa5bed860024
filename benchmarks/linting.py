"""Time of `resonate lint` for 10,000 lines, in milliseconds and beside that of parsing the same lines.

    python benchmarks/linting.py [--check] [--lines N]

The lines are those of the examples, repeated. Each figure is the least processor time of several runs. With `--check`
the exit code is 1 if the check takes longer than two seconds, or than six times the parsing.
"""

import argparse
import ast
import json
import sys
import tempfile
import time
from pathlib import Path

from resonate_infra.lint.checking import check
from resonate_infra.lint.rules import RULES

ROOT = Path(__file__).parents[1]
LINES = 10_000
MOST_MS = 2000.0
MOST_RATIO = 6.0
RUNS = 3


def program(lines: int) -> str:
    """Return a program with at least so many lines: the examples, again and again."""
    examples = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples").rglob("*.py"))]
    text = "\n".join(examples)
    return "\n".join([text] * (lines // text.count("\n") + 1))


def measure(lines: int) -> dict[str, float]:
    """Return the times (ms), their ratio, and how many workflows were checked."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "program.py")
        path.write_text(program(lines), encoding="utf-8")
        parsing = checking = float("inf")
        workflows = 0
        for _ in range(RUNS):
            begun = time.process_time()
            ast.parse(path.read_bytes())
            parsed = time.process_time()
            workflows = check([path], frozenset(RULES)).workflows
            parsing = min(parsing, parsed - begun)
            checking = min(checking, time.process_time() - parsed)
    return {
        "parse_ms": round(parsing * 1000, 1),
        "lint_ms": round(checking * 1000, 1),
        "ratio": round(checking / parsing, 2),
        "workflows": workflows,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--lines", type=int, default=LINES)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    figures = measure(given.lines)
    print(json.dumps({"figures": figures, "limits": {"lint_ms": MOST_MS, "ratio": MOST_RATIO}}, indent=2))
    return int(given.check and (figures["lint_ms"] > MOST_MS or figures["ratio"] > MOST_RATIO))


if __name__ == "__main__":
    sys.exit(main())
