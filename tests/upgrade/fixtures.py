"""Where the fixtures are, and how a stack is opened on one.

`generations/{generation}/{substrate}/{scenario}.(sql|jsonl)` is what one release stored. The first line of each file
says when it was written (ms). It is resumed at a later time.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.clocks import SettableClock
from tests.upgrade.stacks import Line, SqliteStack, TableStack, load_sqlite, load_table

GENERATIONS: Final = Path(__file__).with_name("generations")
SUBSTRATES: Final = ("sqlite", "dynamodb")
UPGRADE: Final = 3_600_000
"""How long nothing runs between the writing of a fixture and its resumption (ms)."""


class Fixture(NamedTuple):
    """What one release stored of one scenario, on one substrate."""

    generation: str
    substrate: str
    scenario: str

    @property
    def path(self) -> Path:
        suffix = {"sqlite": "sql", "dynamodb": "jsonl"}[self.substrate]
        return GENERATIONS / self.generation / self.substrate / f"{file_name(self.scenario)}.{suffix}"

    def __str__(self) -> str:
        return "/".join(self)


def file_name(id: str) -> str:
    """The name of an id's file, without suffix: ids may be anything."""
    return re.sub(r"[^\w.-]+", "_", id, flags=re.ASCII).strip("_")


def generations() -> list[str]:
    """The generations there are, the oldest first."""
    return sorted(path.name for path in GENERATIONS.iterdir() if path.is_dir())


def fixtures_of(generation: str, scenarios: list[str]) -> list[Fixture]:
    """The fixtures of a generation. A file that belongs to no scenario is an error: nothing stored is ever left out."""
    found = [Fixture(generation, substrate, scenario) for substrate in SUBSTRATES for scenario in scenarios]
    files = {path for substrate in SUBSTRATES for path in (GENERATIONS / generation / substrate).glob("*")}
    if unknown := files - {fixture.path for fixture in found}:
        raise ValueError(f"no scenario is called like {sorted(unknown)}")
    return [fixture for fixture in found if fixture.path in files]


def history_path(generation: str, id: str, moment: str) -> Path:
    """Where the history of an execution is, as it was when the fixture was written, or when the execution had ended."""
    return GENERATIONS / generation / "histories" / f"{file_name(id)}.{moment}.json"


def write(path: Path, written_at: int, content: str | list[Line]) -> None:
    """Write a fixture, and never over another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        text = f"-- written at {written_at}\n{content}"
    else:
        lines = [{"written_at": written_at}, *content]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    with path.open("x", encoding="utf-8") as file:
        file.write(text)


SEAL: Final = "SHA256SUMS"
"""The file that names every file of a generation with its hash: none of them is ever changed."""


def hashes(generation: str) -> dict[str, str]:
    """The hash of every file of a generation, by its path below it."""
    folder = GENERATIONS / generation
    files = sorted(path for path in folder.glob("*/*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def seal(generation: str) -> None:
    """Write the hashes of a generation's files."""
    lines = [f"{hash}  {name}\n" for name, hash in hashes(generation).items()]
    (GENERATIONS / generation / SEAL).write_text("".join(lines), encoding="utf-8")


def sealed(generation: str) -> dict[str, str]:
    """The hashes that the files of a generation had when they were written."""
    lines = (GENERATIONS / generation / SEAL).read_text(encoding="utf-8").splitlines()
    return {name: hash for hash, _, name in (line.partition("  ") for line in lines)}


def open_sqlite(fixture: Fixture, path: Path) -> SqliteStack:
    """A stack over a SQLite file as the fixture has it, an hour later."""
    text = fixture.path.read_text(encoding="utf-8")
    written_at = int(text.partition("\n")[0].removeprefix("-- written at "))
    load_sqlite(text, path)
    return SqliteStack(path, SettableClock(written_at + UPGRADE))


def open_table(fixture: Fixture, stack: TableStack, *, events: bool = True) -> TableStack:
    """The offline stack with a table as the fixture has it, an hour later. See `load_table` for `events`."""
    head, *lines = lines_of(fixture)
    stack.renew(int(head["written_at"]) + UPGRADE)  # pyright: ignore[reportArgumentType]
    load_table(lines, stack, events=events)
    return stack


def lines_of(fixture: Fixture) -> list[Line]:
    """The lines of a table's dump; the first one says when it was written."""
    return [json.loads(line) for line in fixture.path.read_text(encoding="utf-8").splitlines()]
