"""Transitions of a task as a table.

`tests/unit/store/machine/test_transitions.py` drives the machine through every state and event, and compares it with
the table in both directions. `python -m resonate_store.machine.transitions docs/rules.md` writes the table into the
rules.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final, Literal

from resonate_store.model.records import TaskState

TaskEvent = Literal[
    "create",
    "create acquired",
    "fork",
    "acquire",
    "release",
    "suspend",
    "fulfill",
    "settle",
    "time out",
    "lease expiry",
    "last attempt",
    "resume",
    "cancel",
    "retry",
    "next generation",
    "message",
    "halt",
    "halt held",
    "continue",
    "repin",
    "redirect",
    "register",
    "extend",
    "fence",
    "verify",
    "offer",
    "record",
    "take",
    "publish",
    "copy",
    "deliver",
    "await",
    "read",
]

EVENTS: Final[dict[TaskEvent, str]] = {
    "create": "`promise.create` with a target, or an occurrence of a schedule",
    "create acquired": "`task.create`",
    "fork": "`task.fork`",
    "acquire": "`task.acquire` at the version of the task",
    "release": "`task.release` by the holder",
    "suspend": "`task.suspend` by the holder; all awaited promises are pending",
    "fulfill": "`task.fulfill` by the holder",
    "settle": "`promise.settle`, also in the `task.fence` of another task",
    "time out": "the deadline of the promise passes, or had passed when the promise was created",
    "lease expiry": "the lease of the holder ends",
    "last attempt": "a release or a lease expiry ends the tenth attempt in a row (L6)",
    "resume": "an awaited promise is settled",
    "cancel": "`promise.cancel` without `force` (X1)",
    "retry": "`execution.retry`, which ends the pause before an attempt (X7)",
    "next generation": "`task.continue_as` by the holder (G3)",
    "message": "`message.send` with a name that the task waits for (M3)",
    "halt": "`task.halt` without a version",
    "halt held": "`task.halt` with a version, by the holder",
    "continue": "`task.continue`",
    "repin": "`task.repin` (N3)",
    "redirect": "`task.suspend` by the holder; a promise is settled, a resume is buffered or a message is new (300)",
    "register": "one part of a suspension on more than 99 promises (T9)",
    "extend": "`task.heartbeat` by the holder",
    "fence": "`task.fence` by the holder, which creates or settles another promise",
    "verify": "a worker asks whether it still holds the task",
    "offer": "the task is offered again (L8)",
    "record": "`promise.record` with the id of the task",
    "take": "`task.receive` by the holder",
    "publish": "`task.publish` by the holder",
    "copy": "`task.copy` of a record below a fork",
    "deliver": "all effects of a settlement are carried out (W10)",
    "await": "`promise.register_callback` or `promise.register_listener`",
    "read": "`promise.get` or `task.get`",
}
"""Meaning of each event. The holder sends its requests with the version of the acquired task."""

TRANSITIONS: Final[dict[tuple[TaskState | None, TaskEvent], TaskState]] = {
    (None, "create"): "pending",
    (None, "create acquired"): "acquired",
    (None, "fork"): "halted",
    (None, "time out"): "fulfilled",
    ("pending", "create acquired"): "acquired",
    ("pending", "acquire"): "acquired",
    ("pending", "halt"): "halted",
    ("pending", "cancel"): "fulfilled",
    ("pending", "settle"): "fulfilled",
    ("pending", "time out"): "fulfilled",
    ("acquired", "release"): "pending",
    ("acquired", "lease expiry"): "pending",
    ("acquired", "last attempt"): "halted",
    ("acquired", "suspend"): "suspended",
    ("acquired", "halt"): "halted",
    ("acquired", "halt held"): "halted",
    ("acquired", "fulfill"): "fulfilled",
    ("acquired", "settle"): "fulfilled",
    ("acquired", "time out"): "fulfilled",
    ("suspended", "resume"): "pending",
    ("suspended", "cancel"): "pending",
    ("suspended", "message"): "pending",
    ("suspended", "halt"): "halted",
    ("suspended", "settle"): "fulfilled",
    ("suspended", "time out"): "fulfilled",
    ("halted", "continue"): "pending",
    ("halted", "repin"): "pending",
    ("halted", "settle"): "fulfilled",
    ("halted", "time out"): "fulfilled",
}
"""The next state of a task. None is a task that does not exist yet. A pair that is absent does not change the state."""

STATES: Final[tuple[TaskState | None, ...]] = (None, "pending", "acquired", "suspended", "halted", "fulfilled")

BEGIN: Final = "<!-- transitions: begin -->\n"
END: Final = "<!-- transitions: end -->\n"


def section() -> str:
    """Return the table and its diagram in Markdown."""
    columns = STATES[:-1]
    lines = [
        "A fulfilled task stays fulfilled. An empty cell means: the request is refused, or the state does not change.",
        "A request *by the holder* has the version of the acquired task.",
        "",
        f"| event | {' | '.join(state or 'new' for state in columns)} | meaning |",
        "|---|" + "---|" * (len(columns) + 1),
    ]
    made = {event for _, event in TRANSITIONS}
    moving: list[tuple[TaskEvent, str]] = [(event, meaning) for event, meaning in EVENTS.items() if event in made]
    for event, meaning in moving:
        cells = " | ".join(TRANSITIONS.get((state, event), "") for state in columns)
        lines.append(f"| {event} | {cells} | {meaning} |")
    lines += ["", "These events do not change the state of a task:", ""]
    lines += [f"- {event}: {meaning}" for event, meaning in EVENTS.items() if event not in made]
    lines += ["", "```mermaid", "stateDiagram-v2"]
    arrows: dict[tuple[TaskState | None, TaskState], list[str]] = {}
    for (state, event), after in TRANSITIONS.items():
        arrows.setdefault((state, after), []).append(event)
    lines += [f"    {state or '[*]'} --> {after}: {', '.join(events)}" for (state, after), events in arrows.items()]
    lines += ["    fulfilled --> [*]", "```", ""]
    return "\n".join(lines)


def with_section(page: str) -> str:
    """Return the page with a new section between its two marks."""
    above, _, rest = page.partition(BEGIN)
    _, _, below = rest.partition(END)
    return f"{above}{BEGIN}\n{section()}\n{END}{below}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        rules = Path(sys.argv[1])
        rules.write_text(with_section(rules.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        sys.stdout.write(section())
