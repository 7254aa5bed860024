"""Option `--state`: the states that a command can find, under the names that outputs show.

`canceled`, `cancelled` and `timed out` are other names of `rejected_canceled` and `rejected_timedout`. A state of
another list is refused, and the refusal says which state of this list has those records.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import typer

from resonate_infra.inspection.exits import USAGE, Failure

ALIASES: Final = {
    "canceled": "rejected_canceled",
    "cancelled": "rejected_canceled",
    "rejected_cancelled": "rejected_canceled",
    "timedout": "rejected_timedout",
    "timed_out": "rejected_timedout",
    "rejected_timed_out": "rejected_timedout",
}
"""States under the names of other outputs, and in other spellings."""
_SETTLED: Final = ("fulfilled",)
HELD_BY: Final[dict[str, tuple[str, ...]]] = {
    "running": ("acquired", "pending"),
    "acquired": ("running", "pending"),
    "waiting": ("suspended", "pending"),
    "suspended": ("waiting", "pending"),
    "retrying": ("pending",),
    "halted": ("pending",),
    "failed": ("rejected", *_SETTLED),
    "fulfilled": ("resolved",),
    "done": ("resolved", *_SETTLED),
    "completed": ("resolved", *_SETTLED),
    "succeeded": ("resolved", *_SETTLED),
    "resolved": _SETTLED,
    "rejected": _SETTLED,
    "rejected_canceled": _SETTLED,
    "rejected_timedout": _SETTLED,
}
"""Names of states, and in which states those records are in lists that do not have the name. The first that exists."""


def state_option(states: Sequence[str], what: str) -> Any:
    """Return the option `--state` of a command.

    Args:
        states: the states that the command can find.
        what: the plural name of the records.
    """

    def offered(incomplete: str) -> list[str]:
        return [state for state in states if state.startswith(incomplete)]

    return typer.Option(
        "--state",
        metavar=f"<{'|'.join(states)}>",
        help=f"Only {what} in this state.",
        parser=state_in(states, what),
        autocompletion=offered,
        show_default=False,
    )


def state_in(states: Sequence[str], what: str) -> Callable[[str], str]:
    """Return the function that reads a state of `what`, one of `states`.

    It raises a `Failure` for another name, which says what exists.
    """

    def parse(text: str) -> str:
        name = "_".join(text.lower().replace("-", " ").replace("_", " ").split())
        state = ALIASES.get(name, name)
        if state in states:
            return state
        import difflib

        held = next((each for each in HELD_BY.get(state, ()) if each in states), None)
        close = difflib.get_close_matches(name, [*states, *(ALIASES if "rejected" in states else ())], n=1)
        hint = f"; {held!r} has those" if held else f", did you mean {close[0]!r}?" if close else ""
        raise Failure(f"--state: {what} have no state {text!r}: they are {', '.join(states)}{hint}", USAGE)

    return parse
