"""Option `--state` of searches: other names of states, and refusals that say what exists."""

from __future__ import annotations

import pytest

from tests.support.command_line import CommandLine
from tests.unit.infra.cli.conftest import Suspend

SPELLINGS = {
    "rejected_canceled": ("canceled", "cancelled", "Canceled", "rejected-canceled"),
    "rejected_timedout": ("timedout", "timed out", "timed_out", "timed-out"),
}
PROMISES = "promises have no state {!r}: they are pending, resolved, rejected, rejected_canceled, rejected_timedout"
TASKS = "tasks have no state {!r}: they are pending, acquired, suspended, halted, fulfilled"
REFUSED = [
    ("promises", "running", PROMISES, "; 'pending' has those"),
    ("promises", "failed", PROMISES, "; 'rejected' has those"),
    ("promises", "canceld", PROMISES, ", did you mean 'canceled'?"),
    ("promises", "lost", PROMISES, ""),
    ("tasks", "running", TASKS, "; 'acquired' has those"),
    ("tasks", "waiting", TASKS, "; 'suspended' has those"),
    ("tasks", "canceled", TASKS, "; 'fulfilled' has those"),
    ("tasks", "resolved", TASKS, "; 'fulfilled' has those"),
]


def test_states_are_found_under_all_their_names(anywhere: CommandLine, id: str, subtests: pytest.Subtests) -> None:
    anywhere.ok("promises", "create", f"{id}-c")
    anywhere.ok("promises", "cancel", f"{id}-c")
    anywhere.ok("promises", "create", f"{id}-t", "--timeout", "1ms")
    assert anywhere.fails("promises", "resolve", f"{id}-t")[1].startswith(f"promise '{id}-t' is rejected_timedout")
    anywhere.ok("promises", "create", f"{id}-p")
    for state, names in SPELLINGS.items():
        expected = [f"{id}-{'c' if state == 'rejected_canceled' else 't'}"]
        for name in (state, *names):
            with subtests.test(name):
                for command, of in ((("promises", "search"), "promises"), (("executions", "list"), "executions")):
                    found = anywhere.json(*command, "--id", id, "--state", name)[of]
                    assert [each["id"] for each in found] == expected


@pytest.mark.parametrize(("of", "name", "text", "hint"), REFUSED)
def test_unknown_state_is_refused_with_those_that_exist(
    resonate: CommandLine, of: str, name: str, text: str, hint: str
) -> None:
    told = resonate.fails(of, "search", "--state", name)
    assert told == (2, f"--state: {text.format(name)}{hint}")


def test_state_of_a_selection_takes_other_names(resonate: CommandLine, suspend: Suspend, id: str) -> None:
    suspend(id)
    resonate.ok("promises", "cancel", id, "--force")

    ran = resonate.ok("executions", "delete", "--state", "cancelled", "--id", id, "--dry-run")
    assert ran.out.split() == [id]
    assert resonate.fails("executions", "delete", "--state", "suspended", "--dry-run")[1].endswith(
        "; 'waiting' has those"
    )
