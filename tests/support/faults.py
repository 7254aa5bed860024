"""Faults at chosen requests of a function: its process dies before one or after it, or the answer gets lost."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest
from botocore.exceptions import ConnectionClosedError

from resonate.testing.faults import Killed
from resonate_infra.testing.moto.cloud import CountedCall, Moment
from resonate_infra.testing.stack import OfflineStack
from tests.support import journal
from tests.support.records import records_in_table


def in_turn(*faults: Moment) -> pytest.MarkDecorator:
    """Parametrise a test with `moments`: the faults that its requests meet, one after the other, over and over.

    By default the test runs once, and each request meets one of the faults. With `RESONATE_CI` it runs once for each
    fault, and each request meets all of them.
    """
    runs = [(each,) for each in faults] if "RESONATE_CI" in os.environ else [faults]
    return pytest.mark.parametrize("moments", runs, ids="-".join)


def positions(offset: int = 0, turns: int = 1) -> Iterator[int]:
    """Give the numbers of the requests that meet a fault: every one with `RESONATE_CI`, else every 13th.

    Args:
        offset: the first one.
        turns: how many runs of the test share the requests; each has another offset.
    """
    return itertools.count(offset, turns * (1 if "RESONATE_CI" in os.environ else 13))


class Fault:
    """One fault at the request number `position` (from 0) of a function; assign it to `stack.cloud.fault`.

    Attributes:
        hit: the request that it happened to, once it has.
        recorded: the functions whose outcome was stored by then.
        runs: how often each function had run by then.
    """

    def __init__(self, stack: OfflineStack, function: str, moment: Moment, position: int) -> None:
        self.hit: CountedCall | None = None
        self.recorded: set[str] = set()
        self.runs: dict[str, int] = {}
        self._stack = stack
        self._function = function
        self._moment = moment
        self._left = position

    def __call__(self, moment: Moment, call: CountedCall) -> None:
        if call.caller != self._function or self.hit is not None:
            return
        if moment == self._moment and self._left == 0:
            self.hit = call
            self.recorded = settled(self._stack)
            self.runs = dict(journal.runs)
            if moment == "lost":
                raise ConnectionClosedError(endpoint_url="https://dynamodb")
            raise Killed
        if moment == ("before" if self._moment == "before" else "after"):
            self._left -= 1

    def rerun(self) -> list[str]:
        """The functions that ran again although their outcome had been stored."""
        return [id for id in self.recorded if journal.runs[id] != self.runs.get(id, 0)]


def settled(stack: OfflineStack) -> set[str]:
    """The ids of all settled promises in the table."""
    return {record.id for record in records_in_table(stack) if not record.pending}
