"""Patches: changes of the code of workflows in flight (`ctx.patched`).

A workflow has a patch if it asked for it where it had no recorded command. Then a marker is recorded under the patch's
name, `{workflow}.patch~{name}`, with the number of commands before the place. A marker has no number of its own. So it
shifts no command, and code that does not know it ignores it (docs/decisions/0080).
"""

from __future__ import annotations

from abc import abstractmethod

from resonate.engine.actions import RecordOutcome
from resonate.engine.model import Coroutine, Node, Outcome
from resonate.engine.nodes import Nodes
from resonate.errors import refusal
from resonate.payloads import codec
from resonate.workflow.patches import Patched
from resonate_store.model import ids
from resonate_store.model.records import PromiseView
from resonate_store.model.requests import PromiseRecord
from resonate_store.model.tags import AFTER, KIND, NAME


class Patches(Nodes):
    """The patches of one execution; a base of `Execution`."""

    @abstractmethod
    def _receive(self, coroutine: Coroutine, outcome: Outcome, *, is_news: bool = False) -> None:
        """Give a workflow the recorded outcome of what it waits for."""

    def _ask_patch(self, coroutine: Coroutine, command: Patched) -> Node | None:
        """Answer whether a workflow has a patch; return the node of its marker if that is to be recorded first.

        The workflow waits for its marker: a command that is recorded without it would make the answer false.

        Raises:
            ResonateStoreError: the workflow's id is too long for the id of a marker.
        """
        work = coroutine.work
        state = work.state
        id = f"{state.stem}patch~{command.name}"
        if problem := ids.problem_with(id):
            raise refusal(400, problem)
        marker, node = self.records.by_id.get(id), self.nodes.get(id)
        if node is not None:
            return node  # this invocation has recorded it
        if marker is not None:
            self._receive(coroutine, (state.count >= place_of(marker), None))
            return None
        if self._has_passed(coroutine):
            self._receive(coroutine, (False, None))
            return None
        self._progress.patched(state)
        node = self.nodes[id] = Node(id, work.node.timeout_at, command.kind, command.name)
        tags = {**work.lineage.tags, KIND: command.kind, NAME: command.name, AFTER: str(state.count)}
        value = codec.encode(True, "a patch")
        record = PromiseRecord(id, work.node.timeout_at, self.now, "resolved", value, tags=tags)
        self._actions.append(RecordOutcome(node, record))
        return node

    def _has_passed(self, coroutine: Coroutine) -> bool:
        """Return whether an earlier invocation of this workflow has issued a command beyond its present place.

        A pending promise with an overridden id has no record at its number. If it has resumed the task, and no other
        workflow can have issued it, it lies beyond.
        """
        if self._progress.is_behind(coroutine.state):
            return True
        root, below = self.root, f"{self.root.node.id}."
        if coroutine.work is not root or not any(
            not id.startswith(below) and id not in self.nodes for id in self._progress.resumed_by
        ):
            return False
        works = [node.work for node in self.nodes.values() if node is not root.node and node.work is not None]
        return all(work.kind == "step" for work in works)


def place_of(marker: PromiseView) -> int:
    """Return the number of commands before the place where a workflow first had this patch."""
    return int(marker.tags.get(AFTER, "0"))
