"""Messages and published state of one execution: part of the interpreter.

A taken message is the record of the command that has received it, and lies among the children of the execution. So the
inbox is known after each read of these children. A workflow gets the oldest message of a name, or waits.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from resonate.encoders import Encoder
from resonate.engine.actions import Ask, Create, Look, ReadPromise, RecordOutcome
from resonate.engine.history import Issued, outcome_of
from resonate.engine.model import Coroutine, Gathering, Lineage, Node, Work
from resonate.engine.nodes import Nodes
from resonate.errors import (
    MessagesNotSupportedError,
    NonDeterminismError,
    PayloadTooLargeError,
    ProgramError,
    ResonateCanceledError,
    message_conflict,
    message_refusal,
    refusal,
)
from resonate.payloads import codec
from resonate.payloads.restore import Asked
from resonate.workflow.messages import InboxCommand, PublishCommand, ReceiveCommand, SendCommand
from resonate.workflow.registry import Registry
from resonate_store.model.ids import is_below, problem_with
from resonate_store.model.limits import problem_with_size, size_of
from resonate_store.model.message_requests import MessageSend, TaskPublish, TaskReceive
from resonate_store.model.records import EMPTY, Claim, PromiseView
from resonate_store.model.requests import PromiseCreate, PromiseGet, PromiseRecord, Response
from resonate_store.model.tags import BRANCH, KIND, MESSAGE, NAME, ORIGIN, PARENT, PREFIX, SCOPE, SEQUENCE, TIMER


class InboxCommands(Nodes):
    """The inbox and the published state of one execution, and the messages that it sends.

    Attributes:
        takes_messages: whether the store takes the requests about messages.
    """

    def __init__(
        self,
        root: Work,
        registry: Registry,
        dependencies: Mapping[str, Any],
        private: bool,
        encoders: dict[str, Encoder[Any, str | None]],
    ) -> None:
        super().__init__(root, registry, dependencies, private, encoders)
        self.takes_messages = True
        self._waiting: dict[str, deque[PromiseView]] = {}
        self._taking: dict[Node, str] = {}
        self._unstarted: dict[Node, tuple[float | None, Lineage]] = {}

    # What the worker calls

    def heard(self, children: Sequence[PromiseView]) -> None:
        """Handle the present children of the root: workflows that wait for messages get those that are new."""
        self.records.remember_messages(children)
        self._sort()
        for node in list(self._blocked.values()):
            self._take_awaited(node)

    def looked(self, look: Look) -> None:
        """Begin the timer of a command that has found no message, after the worker has looked for new ones."""
        if look.node not in self._taking and not look.node.settled:
            self._begin_timer(look.node, look.timer)

    def answered(self, ask: Ask, response: Response) -> None:
        """Handle the answer to a request of a command."""
        node, request, promise = ask.node, ask.request, response.promise
        if isinstance(request, MessageSend):
            self._sent_message(ask, request, response)
        elif isinstance(request, TaskReceive):
            assert promise is not None, "the worker has checked it"
            self._taking.pop(node, None)
            self.records.messages.pop(promise.id, None)
            self._settle_receipt(node, promise)
        elif promise is None:
            self.settle(node, None, refusal(response.status, response.error))
        else:
            self.settle(node, None, None)

    # Commands

    def _issue_message(self, coroutine: Coroutine, command: InboxCommand[Any]) -> Node:
        """Return the node of a command of this module.

        Raises:
            NonDeterminismError: another command is recorded at its number.
            MessagesNotSupportedError: the store has no messages.
            ProgramError: a nested workflow with an id of its own has no inbox.
            ResonateStoreError: the id of its record is not valid.
            PayloadError: its value cannot be stored.
        """
        context, lineage = coroutine.work.context, coroutine.work.lineage
        state = coroutine.state
        place = state.next_id()
        node = self.nodes.get(place)
        if node is not None:  # an earlier attempt of the workflow has issued it
            return node
        known = self.records.by_id.get(place)
        if known is not None:
            issued, recorded = Issued.by(command), Issued.of(known)
            if issued != recorded:
                raise NonDeterminismError(place, str(recorded), str(issued))
        elif not self.takes_messages:
            raise MessagesNotSupportedError(command.describe())
        elif problem := problem_with(place):
            raise refusal(400, problem)
        if not isinstance(command, SendCommand) and not is_below(place, self.root.node.id):
            raise ProgramError(
                f"{command.describe()} needs the inbox of the execution, and {context.id} has an id of its own: begin"
                " this nested workflow without options(id=...), or by ctx.rpc"
            )
        # A wait for a message ends with the execution. A nested workflow may end earlier.
        timeout_at = self.root.node.timeout_at if isinstance(command, ReceiveCommand) else lineage.timeout_at
        asked = command.result_type if isinstance(command, ReceiveCommand) else None
        node = Node(place, timeout_at, command.kind, command.name, Any if asked is None else Asked(asked))
        if isinstance(command, ReceiveCommand):
            self._receive_message(node, command, known, lineage)
        elif known is not None and not known.pending:
            self._exists(node, known)
        elif isinstance(command, SendCommand):
            self._send_message(node, command, lineage)
        else:
            assert isinstance(command, PublishCommand)
            self._publish(node, command, lineage)
        self.nodes[place] = node
        if state.replaying and known is None and command.waits:  # `progress` looks at its whole wait
            self._progress.issued(state, node)
        return node

    def _receive_message(
        self, node: Node, command: ReceiveCommand[Any], known: PromiseView | None, lineage: Lineage
    ) -> None:
        receipt = self.records.receipts.get(node.id)
        if receipt is not None:
            self._settle_receipt(node, receipt)
            return
        if known is not None:
            self._exists(node, known)
            if node.settled:
                return
            self._awaits_timer(node, known.timeout_at)
        if not command.waits:
            self._unstarted[node] = (command.timeout_s if known is None else None, lineage)
        elif not self._take_message(node) and known is None:
            self._limit_wait(node, command.timeout_s, lineage)

    def _limit_wait(self, node: Node, timeout_s: float | None, lineage: Lineage) -> None:
        """Begin the timer of a command that has found no message, if it has a timeout."""
        if timeout_s is None:
            return
        tags = {
            TIMER: "true",
            KIND: node.kind,
            NAME: node.name,
            SCOPE: "global",
            PARENT: lineage.id,
            ORIGIN: lineage.origin,
            BRANCH: node.id,
            PREFIX: lineage.prefix,
        }
        timeout_at = min(self.now + math.ceil(timeout_s * 1000), lineage.timeout_at)
        timer = PromiseCreate(node.id, timeout_at, EMPTY, tags)
        if timeout_s == 0:
            self._actions.append(Look(node, timer))  # the timer ends at once, so look for a message before
        else:
            self._begin_timer(node, timer)

    def _awaits_several(self, node: Node, gathering: Gathering) -> None:
        if gathering.kind != "next":  # that waits for calls only
            self._take_awaited(node)

    def _take_awaited(self, node: Node) -> None:
        """Take messages for what a workflow awaits: a receive, or those among several promises."""
        gathering = node.gathering
        if gathering is not None and gathering.canceled:
            return
        for each in (node,) if gathering is None else gathering.unsettled():
            if each.kind != "receive" or each in self._taking:
                continue
            timeout_s, lineage = self._unstarted.pop(each, (None, None))
            if not self._take_message(each):
                if lineage is not None:
                    self._limit_wait(each, timeout_s, lineage)
            elif gathering is not None:
                gathering.expect(each)
                if gathering.winner is not None:
                    return

    def _begin_timer(self, node: Node, timer: PromiseCreate) -> None:
        self._awaits_timer(node, timer.timeout_at)
        self._actions.append(Create(node, timer))

    def _take_message(self, node: Node) -> bool:
        """Ask for the oldest message that waits for this command; return False if there is none."""
        waiting = self._waiting.get(node.name)
        if not waiting:
            return False
        message = waiting.popleft().id
        self._taking[node] = message
        request = TaskReceive(self.root.node.id, 0, message, node.name, node.id, node.timer)
        self._actions.append(Ask(node, request))
        return True

    def _stop_receiving(self, node: Node) -> None:
        """Give up a wait for a message. A message that it was about to take waits again."""
        if self._taking.pop(node, None) is not None:
            self._actions = [each for each in self._actions if not (isinstance(each, Ask) and each.node is node)]
            self._sort()
        if not node.external:
            self.settle(node, None, ResonateCanceledError(node.id))

    def _settle_receipt(self, node: Node, message: PromiseView) -> None:
        """Settle a command with the message that it has taken."""
        if isinstance(message.param, Claim):
            self._actions.append(ReadPromise(node, PromiseGet(message.id)))
            return
        received = replace(message, id=node.id, value=message.param)
        self.settle(node, *outcome_of(received, node.annotation, None))

    def _exists(self, node: Node, promise: PromiseView) -> None:
        """Adopt a promise. At a command `receive` it is the message that was taken, or the timer of the timeout."""
        if node.kind != "receive":
            super()._exists(node, promise)
        elif MESSAGE in promise.tags:
            self._settle_receipt(node, promise)
        elif promise.pending:
            super()._exists(node, promise)
        elif node not in self._taking:
            # The timer is the record: from now on the command has timed out in each replay.
            self.settle(node, None, TimeoutError(f"{node.id} has received no message {node.name!r} in time"))

    def _send_message(self, node: Node, command: SendCommand, lineage: Lineage) -> None:
        value = codec.encode(command.value, f"the message {command.name!r} to {command.id}", "value")
        if problem := problem_with_size(size_of(value)):
            raise PayloadTooLargeError(problem)
        tags = {**lineage.tags, KIND: node.kind, NAME: node.name}
        key = command.key
        if key is None:
            names = lineage.names
            key = node.id if names is None else names.key(node.id, node.id, f"send {command.name}")
        request = MessageSend(command.id, command.name, key, value)
        self._actions.append(Ask(node, request, tags, own_key=command.key is None))

    def _sent_message(self, ask: Ask, request: MessageSend, response: Response) -> None:
        """Record that a message was accepted, or the error. Then replay does not send it again."""
        node, message = ask.node, response.promise
        error: Exception | None = None
        if message is None:
            error = message_refusal(response.status, response.error)
        elif not ask.own_key and message.param != request.value:
            error = message_conflict(request.id, request.key)
        if isinstance(error, MessagesNotSupportedError):
            self.settle(node, None, error)
            return
        state, value = ("resolved", EMPTY) if error is None else ("rejected", codec.encode_error(error))
        record = PromiseRecord(node.id, node.timeout_at, self.now, state, value, tags=ask.tags)
        self._actions.append(RecordOutcome(node, record))

    def _publish(self, node: Node, command: PublishCommand, lineage: Lineage) -> None:
        value = codec.encode(command.value, f"the published value {command.name!r}", "value")
        tags = {**lineage.tags, KIND: node.kind, NAME: node.name}
        request = TaskPublish(self.root.node.id, 0, node.id, command.name, node.timeout_at, value, tags)
        self._actions.append(Ask(node, request))

    # What is known

    def _remember(self, parent: str, children: Sequence[PromiseView]) -> None:
        super()._remember(parent, children)
        if self.records.messages and parent == self.root.node.id:
            self._sort()

    def _sort(self) -> None:
        """Put the messages that wait into the order of acceptance."""
        self._waiting = {}
        taking = set(self._taking.values())
        waiting = [message for id, message in self.records.messages.items() if id not in taking]
        for message in sorted(waiting, key=_acceptance):
            self._waiting.setdefault(message.tags[MESSAGE], deque()).append(message)


def _acceptance(message: PromiseView) -> tuple[int, int]:
    return message.created_at, int(message.tags.get(SEQUENCE, "0"))
