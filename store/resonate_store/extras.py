"""Imports of optional packages: what to install when one is missing."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager


class MissingExtra(ModuleNotFoundError):
    """A package of an extra of `resonate-serverless` is not installed. The message says what to install."""


@contextmanager
def extra(name: str, subject: str) -> Generator[None]:
    """Import modules that need an extra.

    Args:
        name: the extra, or several separated by commas, such as `aws`.
        subject: what needs it; the message begins with it.

    Raises:
        MissingExtra: an import in the block failed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        message = f"{subject} needs {package}: pip install 'resonate-serverless[{name}]'"
        raise MissingExtra(message, name=error.name) from None
