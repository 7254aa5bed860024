"""The protocol's server side over each substrate, as scripts and races need it: debug requests included."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from resonate_infra.deployed.debugging import TableDebug
from resonate_store.model.clock import ManualClock
from resonate_store.protocol.debug import EmbeddedDebug, RequestClock
from resonate_store.protocol.service import Service
from tests.support.dynamo import Table

RETENTION = 86_400
"""Seconds for which settled executions are kept in a table."""


def service_over(make: Callable[[RequestClock], Any], clock: ManualClock | None = None) -> Service:
    """A server that answers debug requests, over the store that `make` makes on a clock."""
    timed = RequestClock(clock or ManualClock())
    store = make(timed)
    return Service(store, debug=EmbeddedDebug(store, timed))


@contextmanager
def service_over_a_table(client: Any) -> Generator[Service]:
    """A server over a table of its own, as a deployment is that may be debugged; stopped, for nobody reads a stream."""
    timed = RequestClock(ManualClock())
    table = Table(client, streaming=False)
    debug = TableDebug(table.store(timed, shards=2), timed, RETENTION)
    debug.start()
    yield Service(debug, debug=debug)
    debug.close()
    client.delete_table(TableName=table.name)
