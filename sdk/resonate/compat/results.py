"""Result of a function: a value or an error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

T = TypeVar("T")


@dataclass
class Ok(Generic[T]):
    """The function returned `value`."""

    value: Final[T]


@dataclass
class Ko:
    """The function raised `value`."""

    value: Final[BaseException]


Result = Ok[T] | Ko
