"""Errors that docs/errors.md explains. At the bottom of the imports.

The name of the class of an error is its code (docs/decisions/0095). Each error has a note with its place on the page.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

PAGE = "docs/errors.md"
"""The page that explains every error. Its headings are the names of their classes."""


class Documented:
    """Base of errors that `PAGE` explains; the first base of such a class.

    Attributes:
        help: the address of its explanation, such as `docs/errors.md#payloaderror`. A subclass in a user's program has
            the one of its base.
    """

    help: ClassVar[str] = PAGE

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__.partition(".")[0] in ("resonate", "resonate_store", "resonate_infra"):
            cls.help = f"{PAGE}#{cls.__name__.lower()}"

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        error: Any = super().__new__(cls, *args, **kwargs)
        error.add_note(note_of(error))
        return error


def note_of(error: Documented) -> str:
    """Return the note of an error that names its explanation. It is not stored with the error."""
    return f"See {error.help}"
