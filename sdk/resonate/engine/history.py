"""Known records of an execution, which earlier invocations have stored.

A record is known by its id, and its tags show which command made it. The retry timers among the records show how many
attempts a function has had. A timer has the number of the attempt that it follows: `{stem}~{attempt}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, structs

from resonate.encoders import Encoder
from resonate.engine.model import Node, Outcome
from resonate.errors import ResultTypeError
from resonate.payloads import codec
from resonate.workflow.commands import Command, sentence, state_of
from resonate.workflow.context import Context
from resonate_store.model.ids import generation_of
from resonate_store.model.records import PromiseView
from resonate_store.model.tags import FUNC, KIND, LINK, MESSAGE, NAME, ORIGIN, PARENT, SCOPE, TAKEN, TARGET, TIMER

NOTHING = "nothing"
"""The command that is shown for the history, or for today's code, if that has no command at an id."""


class Issued(Struct, frozen=True):
    """Command that made a promise, as replay compares it; `id` is the command's overridden id."""

    kind: str
    name: str = ""
    id: str | None = None

    @classmethod
    def by(cls, command: Command[Any]) -> Issued:
        """Return this command with its default id."""
        return cls(command.kind, command.name)

    @classmethod
    def at(cls, node: Node) -> Issued:
        """Return the command that made this node."""
        return cls(node.kind, node.name, node.id if node.link is not None else None)

    @classmethod
    def of(cls, promise: PromiseView) -> Issued:
        """Return the command that made this promise, from its tags."""
        tags = promise.tags
        if LINK in tags:
            if KIND in tags:
                return cls(tags[KIND], tags.get(NAME, ""), tags[LINK])
            return _of_sentence(tags.get(FUNC, ""), tags[LINK])
        if KIND in tags:
            return cls(tags[KIND], tags.get(NAME) or tags.get(FUNC, ""))
        if tags.get(TIMER) == "true":
            return cls("sleep")
        if TARGET in tags:
            return cls("rpc", tags.get(FUNC, ""))
        return cls("run", tags.get(FUNC, "")) if tags.get(SCOPE) == "local" else cls("promise")

    def __str__(self) -> str:
        return sentence(self.kind, self.name, self.id)


def _of_sentence(text: str, id: str) -> Issued:
    """Read the sentence that version 0.1.0 stored as the function of a promise with an overridden id."""
    kind, _, name = text.partition(" ")
    return Issued(name, "", id) if kind == "a" else Issued(kind, name, id)


def tags_of_link(node: Node) -> dict[str, str]:
    """Return the tags of the record at a command's number, for a promise with an overridden id.

    Workers of version 0.1.0 compare the sentence in `resonate:func`, so they can replay what this version records.
    """
    tags = {**(node.inherited or {}), FUNC: sentence(node.kind, node.name), KIND: node.kind, LINK: node.id}
    if node.name:
        tags[NAME] = node.name
    return tags


class KnownRecords(Struct, eq=False):
    """The records of an execution, by id.

    Attributes:
        root: the context of the function of the task.
        by_id: every record that is known. A message that was taken is known by the id of its command.
        messages: the messages that wait, by their ids.
        receipts: the messages that were taken, by the ids of their commands.
        timers: the latest retry timers, by the text before `~` in their ids.
        lengths: the number of the last known command of each promise, by its id.
    """

    root: Context
    by_id: dict[str, PromiseView] = {}
    messages: dict[str, PromiseView] = {}
    receipts: dict[str, PromiseView] = {}
    timers: dict[str, PromiseView] = {}
    lengths: dict[str, int] = {}

    def remember(self, parent: str, children: Sequence[PromiseView]) -> None:
        """Add the direct children of the promise `parent`, without executions whose id only looks like a child's."""
        if not children and not self.receipts:
            return
        records = self.by_id
        length, begin = 0, len(parent) + 1
        for child in children:
            id = child.id
            if child.tags.get(PARENT) == parent:
                number = _number(id, child.tags, begin)
                if number > length:
                    length = number
                elif not number and MESSAGE in child.tags:
                    self._remember_message(child)
                    continue
            elif not ("~" in id or may_belong(child, parent)):
                continue
            records[id] = child
            if "~" in id:
                self._remember_timer(id, child)
        if self.receipts:  # a receipt counts more than the timer of the same command
            records.update({place: as_record(place, message) for place, message in self.receipts.items()})
            length = max(length, self.lengths.get(parent, 0))
        stem = state_of(self.root).stem if parent == self.root.id else f"{parent}."
        while _may_be_detached(records.get(f"{stem}{length + 1}"), parent):
            length += 1
        if length > self.lengths.get(parent, 0):
            self.lengths[parent] = length

    def remember_messages(self, children: Sequence[PromiseView]) -> None:
        """Update which messages wait, from the present children of the execution."""
        for child in children:
            if MESSAGE in child.tags:
                self._remember_message(child)

    def _remember_message(self, message: PromiseView) -> None:
        place = message.tags.get(TAKEN)
        if place is None and message.pending:
            self.messages[message.id] = message
            return
        self.messages.pop(message.id, None)
        if place is not None and generation_of(place, self.root.id) == self.root.info.generation:
            self.receipts[place] = message
            above, _, number = place.rpartition(".")
            number = number.rpartition("+")[2]
            if number.isdecimal():
                self.lengths[above] = max(self.lengths.get(above, 0), int(number))

    def _remember_timer(self, id: str, timer: PromiseView) -> None:
        stem, _, attempt = id.rpartition("~")
        named = timer.tags.get(ORIGIN) == id  # an overridden id
        if not named and attempt.isdecimal() and int(attempt) > attempt_of(self.timers.get(stem)):
            self.timers[stem] = timer

    def reaches(self, id: str, count: int) -> bool:
        """Return whether the promise `id` has probably had more than `count` commands.

        Detached calls at its end are counted, though their records look like those of calls with an overridden id.
        """
        return self.lengths.get(id, 0) > count

    def beyond(self, id: str, count: int) -> PromiseView | None:
        """Return the first record that a command of `id` after the first `count` has surely made, or None."""
        if not self.reaches(id, count):
            return None
        later = {number: record for record in self.by_id.values() if (number := number_of(record, id)) > count}
        return later[min(later)] if later else None


def as_record(place: str, message: PromiseView) -> PromiseView:
    """Return a taken message as the record of its command."""
    name = message.tags[MESSAGE]
    tags = {each: text for each, text in message.tags.items() if each != MESSAGE}
    tags |= {PARENT: place.rpartition(".")[0], KIND: "receive", NAME: name}
    return structs.replace(message, id=place, tags=tags)


def number_of(promise: PromiseView, parent: str) -> int:
    """Return the number of the command of `parent` that has surely made this promise; 0 if there is none.

    A promise that is its own origin does not have a sure number. An overridden id may look like a number, and the
    record of such a call looks like that of a detached one.
    """
    return _number(promise.id, promise.tags, len(parent) + 1) if promise.tags.get(PARENT) == parent else 0


def _number(id: str, tags: Mapping[str, str], begin: int) -> int:
    number = id[begin:]
    if not number.isdecimal():
        generation, _, number = number.partition("+")  # the command of a later generation (docs/rules.md G2)
        if not (generation.isdecimal() and number.isdecimal()):
            return 0
    return int(number) if tags.get(ORIGIN) != id else 0


def _may_be_detached(promise: PromiseView | None, parent: str) -> bool:
    """Return whether a detached call of `parent` may have made this promise."""
    return (
        promise is not None
        and TARGET in promise.tags
        and promise.tags.get(PARENT) == parent
        and promise.tags.get(ORIGIN) == promise.id
    )


def may_belong(promise: PromiseView, parent: str) -> bool:
    """Return whether a promise, whose id is that of a command of `parent`, may be the promise of this command.

    A call without the tag `resonate:parent` is an independent execution, so it is not. Any other promise without this
    tag may be: the program that settles it may have created it before the workflow.
    """
    return promise.tags.get(PARENT, "" if TARGET in promise.tags else parent) == parent


def attempt_of(timer: PromiseView | None) -> int:
    """Return the attempt that this retry timer follows; 0 without a timer."""
    return 0 if timer is None else int(timer.id.rpartition("~")[2])


def shows_step(promise: PromiseView, name: str) -> bool:
    """Return whether a local call of the function `name` made this promise. It is faster than `Issued.of`."""
    tags = promise.tags
    return (
        tags.get(FUNC) == name
        and tags.get(SCOPE) == "local"
        and LINK not in tags
        and TIMER not in tags
        and TARGET not in tags
    )


def outcome_of(promise: PromiseView, annotation: Any, encoder: Encoder[Any, str | None] | None) -> Outcome:
    """Return what a settled promise gives to the workflow that waits for it.

    Raises:
        ResultTypeError: the value does not fit `result_type`.
    """
    if promise.state != "resolved":
        if promise.state == "rejected_canceled" and promise.tags.get(SCOPE) == "local":
            return None, _canceled(promise)
        return None, codec.decode_error(promise, encoder)
    try:
        return codec.outcome_of(promise, annotation, encoder), None
    except ResultTypeError:
        raise
    except Exception as error:
        return None, error


def _canceled(promise: PromiseView) -> BaseException:
    """Return the error of a nested workflow that ended by the cancellation of its execution, or was cancelled alone."""
    if codec.INTERRUPTED not in (promise.value.headers or ()):
        return codec.decode_error(promise)
    from resonate.errors.canceled import Canceled

    return Canceled(codec.decode(promise.value))


def independent(promise: PromiseView) -> bool:
    """Return whether it is the root of an execution that was started independently. Its id does not matter."""
    tags = promise.tags
    return tags.get(ORIGIN) == promise.id and tags.get(PARENT, promise.id) == promise.id
