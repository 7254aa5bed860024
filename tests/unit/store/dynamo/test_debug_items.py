"""Messages that a stopped deployment holds back, and a table that is emptied."""

import pytest

from resonate_store.dynamo.debug_items import DynamoDebug, Held, released_of
from resonate_store.model.clock import ManualClock
from tests.support.dynamo import Table
from tests.support.substrates import T0


@pytest.fixture
def debug(table: Table) -> DynamoDebug:
    return table.store(ManualClock(T0)).debug()


def test_released_message_is_forgotten_unless_it_is_held_again(debug: DynamoDebug, table: Table) -> None:
    held = Held("http://localhost/a", "a")
    debug.hold(held)
    assert [released_of(item) for item in table.items()] == [None]
    debug.release()
    assert (debug.held(), [released_of(item) for item in table.items()]) == ([], [held])
    debug.hold(held)
    debug.forget(held)
    assert debug.held() == [held]
    debug.release()
    debug.forget(held)
    assert table.items() == []


def test_listeners_of_one_promise_have_a_message_each(debug: DynamoDebug) -> None:
    messages = [Held("http://localhost/1", "a"), Held("http://localhost/2", "a")]
    for held in (*messages, messages[0]):
        debug.hold(held)
    assert debug.held() == messages


def test_cleared_table_stays_paused(debug: DynamoDebug) -> None:
    debug.pause()
    debug.hold(Held("http://localhost/a", "a", version=1))
    debug.clear()
    assert (debug.paused(), debug.held()) == (True, [])
