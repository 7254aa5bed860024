"""Imports of optional packages, with an error that says what to install."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from resonate_store.documented import Documented


class MissingExtra(Documented, ModuleNotFoundError):
    """Raised when a package of an extra of `resonate-serverless` is not installed. The message says what to install."""


@contextmanager
def extra(name: str, subject: str, *, ends_program: bool = False) -> Generator[None]:
    """Run a block of imports that need an extra.

    Args:
        name: the extra, such as `aws`, or several separated by commas.
        subject: what needs the extra. The message begins with it.
        ends_program: if true, a failed import ends the process with exit code 1 and the message as its only output.

    Raises:
        MissingExtra: an import in the block failed.
        SystemExit: an import in the block failed, and `ends_program` is true.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        message = f"{subject} needs {package}: pip install 'resonate-serverless[{name}]'"
        if ends_program:
            raise SystemExit(message) from None
        raise MissingExtra(message, name=error.name) from None
