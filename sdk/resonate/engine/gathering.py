"""Waits for several promises: the record of the winner, and what the workflow gets.

What was first is recorded under the command's number, so that a replay agrees although more has settled since. If all
promises had to settle, nothing is recorded: the result follows from their outcomes.
"""

from __future__ import annotations

from typing import Any

from resonate.engine.history import Issued
from resonate.engine.model import Gathering, Outcome
from resonate.errors import NonDeterminismError
from resonate.payloads import codec
from resonate.workflow.composites.combinators import Settled, Winner
from resonate_store.model.records import PromiseView
from resonate_store.model.requests import PromiseRecord
from resonate_store.model.tags import KIND


def outcome_of(gathering: Gathering) -> Outcome:
    """Return what the workflow gets, once the outcome is known."""
    kind, names = gathering.kind, gathering.names
    if gathering.winner is not None:
        first = gathering.members[gathering.winner]
        if first.error is not None or kind != "race":
            return first.value, first.error
        return Winner(names[gathering.winner] if names else gathering.winner, first.value), None
    if kind == "any":
        errors = [member.error for member in gathering.members if isinstance(member.error, Exception)]
        return None, ExceptionGroup(f"none of {len(errors)} promises was resolved", errors)
    values: list[Any] = [
        Settled(member.value, member.error) if kind == "all_settled" else member.value for member in gathering.members
    ]
    return (dict(zip(names, values, strict=True)) if names else values), None


def record_of(gathering: Gathering, timeout_at: int, now: int) -> PromiseRecord:
    """Return the request that records the winner under the command's number.

    Args:
        gathering: the wait, whose winner is chosen.
        timeout_at: the deadline of the record (ms).
        now: the present instant (ms).
    """
    tags = {**(gathering.node.inherited or {}), KIND: gathering.kind}
    value = codec.encode(gathering.winner, "the winner")
    return PromiseRecord(gathering.node.id, timeout_at, now, "resolved", value, tags=tags)


def winner_in(record: PromiseView, gathering: Gathering) -> int:
    """Return the recorded winner.

    Raises:
        NonDeterminismError: the record is that of another command.
    """
    recorded, issued = Issued.of(record), Issued(gathering.kind)
    if recorded != issued:
        raise NonDeterminismError(gathering.node.id, str(recorded), str(issued))
    winner = codec.decode(record.value)
    if not isinstance(winner, int) or not 0 <= winner < len(gathering.members):
        raise NonDeterminismError(
            gathering.node.id, f"{recorded} of more promises", f"{issued} of {len(gathering.members)}"
        )
    return winner
