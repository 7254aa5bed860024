"""Errors that docs/errors.md explains. At the bottom of the imports.

The name of the class of an error is its code (docs/decisions/0095). Each error has a note with the command that shows
its section of the page.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

EXPLAIN = "resonate explain"
"""The command that shows the explanation of a code. The page is not in a package, and the command has its text."""


class Documented:
    """Base of errors that docs/errors.md explains; the first base of such a class.

    Attributes:
        help: the command that explains it, such as `resonate explain PayloadError`. A subclass in a user's program has
            the one of its base.
    """

    help: ClassVar[str] = EXPLAIN

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__.partition(".")[0] in ("resonate", "resonate_store", "resonate_infra"):
            cls.help = f"{EXPLAIN} {cls.__name__}"

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        error: Any = super().__new__(cls, *args, **kwargs)
        error.add_note(note_of(error))
        return error


def note_of(error: Documented) -> str:
    """Return the note of an error that names its explanation. It is not stored with the error."""
    return f"Causes and way out: {error.help}"
