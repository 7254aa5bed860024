"""Every rule of the state machine holds for a store behind a server as for one at hand.

The same tests as for the other substrates, run over the wire. Left out are those of what a client does not send: a
state that no client may settle to does not encode, and `promise.record` is two requests over the wire, not one write.
"""

from __future__ import annotations

import pytest

from resonate_store.model.clock import ManualClock
from tests.spec import test_promises, test_rules, test_schedules, test_tasks
from tests.spec.test_rules import chunks_of_five  # noqa: F401
from tests.support.substrates import World, manual_clock  # noqa: F401
from tests.support.wire import over_the_wire

AT_HAND = {
    "test_rule_07_clients_settle_to_three_states_only",
    "test_rule_13_a_local_step_costs_one_write_and_no_wakeup",
    "test_rule_13_a_new_step_is_stored_settled",
}

for module in (test_promises, test_rules, test_schedules, test_tasks):
    found = {name: test for name, test in vars(module).items() if name.startswith("test_") and callable(test)}
    globals().update({f"{name}_over_the_wire": test for name, test in found.items() if name not in AT_HAND})


@pytest.fixture(name="store")
def store_behind_a_server(clock: ManualClock) -> World:
    return over_the_wire(clock)
