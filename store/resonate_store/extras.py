"""Imports of optional packages: what to install when one is missing."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager


class MissingExtra(ModuleNotFoundError):
    """A package of an extra of `resonate-serverless` is not installed. The message says what to install."""


@contextmanager
def extra(name: str, subject: str, *, ends_program: bool = False) -> Generator[None]:
    """Import modules that need an extra.

    Args:
        name: the extra, or several separated by commas, such as `aws`.
        subject: what needs it; the message begins with it.
        ends_program: whether the process ends with the message as its only line, and exit code 1.

    Raises:
        MissingExtra: an import in the block failed.
        SystemExit: the same, with `ends_program`.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        message = f"{subject} needs {package}: pip install 'resonate-serverless[{name}]'"
        if ends_program:
            raise SystemExit(message) from None
        raise MissingExtra(message, name=error.name) from None
