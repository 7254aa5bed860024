"""Error of an event that cannot start an execution."""

from __future__ import annotations


class UnusableEventError(ValueError):
    """The event cannot start an execution, however often it is delivered: its content, or the trigger, must change."""
