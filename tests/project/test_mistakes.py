"""The commonest mistakes: each error names the mistake, its line in the user's code, and what to write instead."""

from __future__ import annotations

import inspect
import logging
import traceback
import warnings
from collections.abc import Callable

import pytest

from resonate_store.documented import EXPLAIN
from tests.support.client_mistakes import MISTAKES
from tests.support.mistakes import WARNING, Mistake

LEAST = 48
OUTPUT = "output"


def place_of(program: Callable[[], object]) -> str | None:
    """Return the file and line that the program marks."""
    lines, first = inspect.getsourcelines(program)
    marked = [first + number for number, line in enumerate(lines) if line.rstrip().endswith("# here")]
    assert len(marked) <= 1
    return f"{inspect.getsourcefile(program)}:{marked[0]}" if marked else None


def read_of(program: Callable[[], object], caplog: pytest.LogCaptureFixture) -> tuple[str, str]:
    """Run a program, and return the code of its error and all that its user reads."""
    code, text = WARNING, ""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            printed = program()
        except Exception as error:
            code, text = type(error).__name__, "".join(traceback.format_exception(error))
        else:
            code, text = (OUTPUT, printed) if isinstance(printed, str) else (code, text)
    logged = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    shown = [f"{each.filename}:{each.lineno}: {each.message}" for each in warned]
    return code, "\n".join([text.replace('", line ', ":"), *logged, *shown])


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda each: each.program.__name__)
def test_mistake_is_named_with_its_place_and_way_out(mistake: Mistake, caplog: pytest.LogCaptureFixture) -> None:
    code, text = read_of(mistake.program, caplog)

    assert code == mistake.code, text
    assert [words for words in mistake.words if words not in text] == [], text
    place = place_of(mistake.program)
    assert place is None or place in text, (place, text)
    if code not in (WARNING, OUTPUT, "AttributeError"):
        assert f"{EXPLAIN} {code}\n" in f"{text}\n"


def test_table_has_the_commonest_mistakes() -> None:
    assert len(MISTAKES) >= LEAST
    assert len({each.program.__name__ for each in MISTAKES}) == len(MISTAKES)
