"""When a cron expression occurs next.

Five fields in Unix numbering (0 or 7 is Sunday), names and the usual `@hourly` family allowed, evaluated in UTC; a
day-of-month and a day-of-week that are both restricted mean either, as Unix cron has it (DESIGN 4). The expression
language is croniter's, which is imported when a schedule is first met: workers without schedules never pay for it.
"""

from __future__ import annotations

import re
from typing import Any, cast

_FIELDS = 5
_MADE_UP = re.compile(r"(?:\A|[\s,])[hHrR](?![a-zA-Z])")
"""Fields that croniter fills in by hash or at random, differently every time it is asked."""
_DESCRIPTOR = re.compile(r"@[a-z]+\Z")


def problem_with(expression: str) -> str | None:
    """Say why `expression` cannot be a schedule's, or None when it can."""
    from croniter import croniter

    words = expression.split()
    if len(words) != _FIELDS and not _DESCRIPTOR.match(expression):
        return (
            f"Invalid cron expression {expression!r}: it has {len(words)} fields and needs {_FIELDS}"
            " (minute hour day-of-month month day-of-week)"
        )
    if _MADE_UP.search(expression):
        return f"Invalid cron expression {expression!r}: name the times, H and R stand for arbitrary ones"
    try:
        cast("Any", croniter).expand(expression)
        next_occurrence(expression, 0)
    except ValueError as error:
        return f"Invalid cron expression {expression!r}: {error}"
    return None


def next_occurrence(expression: str, after: int) -> int:
    """The first occurrence strictly after the instant `after`; both in milliseconds since the epoch."""
    from croniter import croniter

    seconds = croniter(expression, after // 1000).get_next(float)
    return int(seconds) * 1000
