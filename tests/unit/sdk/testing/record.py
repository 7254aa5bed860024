"""Records the histories that `test_replay` replays: run it when the format changes, and only then.

python -m tests.unit.sdk.testing.record
"""

from pathlib import Path
from unittest.mock import patch

from resonate.testing import MemoryStack
from tests.unit.sdk.testing.programs import shop, warehouse

HISTORIES = Path(__file__).with_name("histories")


def main() -> None:
    stack = MemoryStack(shop, warehouse)
    stack.mock("ship", lambda what, **_: f"{what}, shipped", target="carrier")
    stack.fail("charge", error=ConnectionError("no route"), times=2)
    # A traceback names files of the machine that this runs on.
    with patch(
        "resonate.payloads.exceptions.traceback.format_exception",
        lambda _type, error, _frames: [f"{type(error).__name__}: {error}\n"],
    ):
        stack.run("stubborn", id="retries")
    stack.run("trial", "ada", id="finished")
    stack.run("order", "tea", id="remote")
    stack.run("branching", id="branching")
    stack.start("trial", "bob", id="sleeping")
    stack.start("branching", id="nested-sleeping")
    stack.options(timeout=90).start("approval", id="timed-out")
    stack.advance(seconds=90)
    keep(stack, "retries", "finished", "remote", "branching", "sleeping", "nested-sleeping", "timed-out")

    stack = MemoryStack(shop)
    stack.run("book", id="book")
    stack.start("book", id="book-sleeping")
    keep(stack, "book", "book-sleeping")


def keep(stack: MemoryStack, *ids: str) -> None:
    for id in ids:
        (HISTORIES / f"{id}.json").write_text(stack.history(id).to_json(), encoding="utf-8")


if __name__ == "__main__":
    main()
