"""Progress of a workflow: whether it repeats what it has done before, and must not log, or does something new.

The one owner of `CommandState.replaying`. After a suspension, an execution repeats everything until it receives what
has settled since. If it ended in another way, such as by a crash, only its records show what it has done.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from resonate.engine.history import KnownRecords
from resonate.engine.model import Node, Work
from resonate.workflow.commands import CommandState
from resonate_store.model.records import PromiseView


class Progress(Struct, eq=False):
    """Progress of one execution: whether its workflows repeat what an earlier invocation has done.

    Attributes:
        records: the records that are known.
        resumed_by: the promises that have resumed the execution from a suspension.
        resumed_at: the instant of the resume (ms), if it is known.
    """

    records: KnownRecords
    resumed_by: frozenset[str] = frozenset()
    resumed_at: int | None = None

    def remember(self, children: Sequence[PromiseView]) -> None:
        """Find the instant of the resume, from the records of the promises that caused it."""
        for child in children if self.resumed_by else ():
            if child.id in self.resumed_by and child.settled_at is not None:
                self.resumed_at = min(child.settled_at, self.resumed_at or child.settled_at)

    def is_behind(self, state: CommandState) -> bool:
        """Return whether the workflow of `state` probably has more recorded commands than it has issued now."""
        return self.records.reaches(state.id, state.count)

    def is_news(self, node: Node) -> bool:
        """Return whether a settled promise was still pending at the last suspension of the execution."""
        if not self.resumed_by:
            return False
        if node.gathering is not None:
            gathering = node.gathering
            members = gathering.members
            places: Sequence[int] = range(len(members)) if gathering.winner is None else (gathering.winner,)
            if gathering.kind == "next" and not gathering.canceled:
                places = node.value
            return any(self.is_news(members[place]) for place in places)
        known = self.records.by_id.get(node.link or node.id)
        return node.durable and (known is None or known.pending or self.has_settled_since(node.id, known))

    def has_settled_since(self, id: str, known: PromiseView) -> bool:
        """Return whether a promise has settled since the suspension: it has resumed the task, or settled after that."""
        return id in self.resumed_by or (
            self.resumed_at is not None and known.settled_at is not None and known.settled_at > self.resumed_at
        )

    def called(self, work: Work) -> None:
        """Note that an async function is called."""
        # It counts as begun from its first command on, so its lines before that have been logged.
        work.state.replaying = work.begun and not work.is_new and work.attempt == 1

    def entered(self, work: Work) -> None:
        """Note that a workflow begins, or that an async function continues after its first command."""
        state = work.state
        resumed = bool(self.resumed_by) and work.begun and not work.is_new and work.attempt == 1
        replaying = resumed or (bool(self.records.lengths) and self.is_behind(state))
        if replaying is not state.replaying:
            state.replaying = replaying

    def issued(self, state: CommandState, node: Node) -> None:
        """Note that a workflow has issued a command without a record."""
        if node.link is None and node.durable:
            state.replaying = False
        elif not self.resumed_by:  # otherwise it may have been begun before, without a record
            state.replaying = not node.durable and self.is_behind(state)

    def received(self, state: CommandState, *, is_news: bool = False) -> None:
        """Note that a workflow receives a recorded outcome at once, during replay."""
        state.replaying = not is_news if self.resumed_by else self.is_behind(state)

    def resumed(self, state: CommandState, node: Node) -> None:
        """Note that a workflow in replay, which waited for this node, receives its outcome in this invocation."""
        if self.resumed_by:
            state.replaying = not self.is_news(node)
        elif not node.durable or node.gathering is not None:
            state.replaying = self.is_behind(state)
        else:
            known = self.records.by_id.get(node.link or node.id)
            state.replaying = known is not None and not known.pending and self.is_behind(state)

    def patched(self, state: CommandState) -> None:
        """Note that a workflow has a patch for the first time: no invocation has run the code that follows."""
        state.replaying = False

    def failed(self, state: CommandState) -> None:
        """Note that a function has failed for good, so that its last line is logged."""
        state.replaying = False
