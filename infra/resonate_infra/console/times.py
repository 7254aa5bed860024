"""Readable times: instants in UTC, ages and the labels of a time axis."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from resonate_infra.inspection.texts import duration

_STEPS_MS = (
    *(1, 2, 5, 10, 20, 50, 100, 200, 500),
    *(1_000, 2_000, 5_000, 10_000, 15_000, 30_000),
    *(60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000),
    *(3_600_000, 7_200_000, 10_800_000, 21_600_000, 43_200_000),
    *(86_400_000, 172_800_000, 604_800_000, 2_592_000_000, 7_776_000_000, 31_536_000_000),
)
"""Distances (ms) between the labels of an axis."""
MOST_LABELS = 6
"""Maximum number of distances between labels on an axis."""
_FINAL = re.compile(r"(.*\b(?:next at|(?:waiting|sleeps|slept) until) )(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)", re.DOTALL)
"""A text about a wait or a sleep, with the instant at its end."""
FAR = datetime(9999, 1, 1, tzinfo=UTC)


def moment(at: int) -> datetime | None:
    """Return an instant (ms) as a datetime, or None if it is so far away that it means "never"."""
    try:
        found = datetime.fromtimestamp(0, tz=UTC) + timedelta(milliseconds=at)
    except OverflowError:
        return None
    return found if found < FAR else None


def short_instant(at: int, now: int) -> str:
    """Return an instant (ms) as text: its time, with its day if that is not today, and its year if it is another."""
    found, today = moment(at), moment(now)
    if found is None:
        return "never"
    clock = found.strftime("%H:%M:%S")
    if today is not None and found.date() == today.date():
        return clock
    day = f"{found:%b} {found.day}"
    return f"{day}, {clock}" if today is not None and found.year == today.year else f"{day} {found.year}, {clock}"


def full_instant(at: int) -> str:
    """Return an instant (ms) as text with the day and milliseconds, in UTC."""
    found = moment(at)
    return "never" if found is None else f"{found:%Y-%m-%d %H:%M:%S}.{found.microsecond // 1000:03d} UTC"


def iso_instant(at: int) -> str:
    """Return an instant (ms) for the attribute `datetime` of an element, or an empty text for "never"."""
    found = moment(at)
    return "" if found is None else f"{found:%Y-%m-%dT%H:%M:%S}.{found.microsecond // 1000:03d}Z"


def final_instant(text: str) -> tuple[str, int | None]:
    """Return a text about a wait without the instant at its end, and this instant (ms). None if it has none."""
    found = _FINAL.fullmatch(text)
    if found is None:
        return text, None
    try:
        return found[1], round(datetime.fromisoformat(found[2]).timestamp() * 1000)
    except ValueError:
        return text, None


def age(at: int, now: int) -> str:
    """Return how far an instant (ms) is from now, such as `2m 5s ago` or `in 3h 0m`."""
    if moment(at) is None:
        return "never"
    distance = now - at
    if abs(distance) < 1000:
        return "now"
    whole = abs(distance) // 1000
    text = f"{whole}s" if whole < 60 else duration(whole * 1000)
    return f"{text} ago" if distance > 0 else f"in {text}"


def step_of_axis(length_ms: int) -> int:
    """Return the distance (ms) between the labels of an axis of this length (ms)."""
    for step in _STEPS_MS:
        if length_ms <= step * MOST_LABELS:
            return step
    return -(-length_ms // (MOST_LABELS * _STEPS_MS[-1])) * _STEPS_MS[-1]


def stable_length(length_ms: int) -> int:
    """Return the length (ms) of an axis for something that grows.

    It stays the same until the axis is full, so that bars do not move at every refresh.
    """
    step = step_of_axis(max(1, length_ms))
    return -(-max(1, length_ms) // step) * step


def labels_of_axis(length_ms: int) -> Iterator[tuple[int, str]]:
    """Yield the labels of an axis: their distance (ms) from its start, and their text."""
    step = step_of_axis(length_ms)
    at = 0
    while at <= length_ms:
        yield at, offset(at, step)
        at += step


def offset(at_ms: int, step_ms: int) -> str:
    """Return a distance (ms) from a start as text, as precise as the steps (ms) of the axis need it."""
    if at_ms == 0:
        return "0"
    if step_ms < 1_000:
        return f"{at_ms}ms" if at_ms < 1_000 else f"{at_ms / 1000:g}s"
    seconds = at_ms // 1000
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m" + (f" {seconds % 60}s" if seconds % 60 else "")
    if seconds < 86_400:
        return f"{seconds // 3600}h" + (f" {seconds % 3600 // 60}m" if seconds % 3600 else "")
    return f"{seconds // 86_400}d" + (f" {seconds % 86_400 // 3600}h" if seconds % 86_400 else "")
