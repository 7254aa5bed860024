"""Commands of messages and published state, and the methods of the context that return them."""

from __future__ import annotations

import math
from typing import Any, TypeVar, overload

from resonate.errors.mistakes import ArgumentValueError
from resonate.validation import Seconds, require, require_text, seconds_of
from resonate.workflow.commands import Command, CommandState, sentence

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class InboxCommand(Command[T_co]):
    """Base of these commands. `name` is the name of the message, or the key of the published value."""

    __slots__ = ("name",)
    special = True

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def describe(self) -> str:
        return sentence(self.kind, self.name)


class ReceiveCommand(InboxCommand[T_co]):
    """Wait for a message. `timeout_s` is how long, in seconds."""

    __slots__ = ("result_type", "timeout_s")
    kind = "receive"

    def __init__(self, name: str, timeout_s: float | None = None, result_type: Any = None) -> None:
        super().__init__(name)
        self.timeout_s = timeout_s
        self.result_type = result_type


class BeginReceive(ReceiveCommand[T_co]):
    """Receive that `ctx.all` and the like begin. It takes a message only while its workflow waits for it."""

    __slots__ = ()
    waits = False


class SendCommand(InboxCommand[None]):
    """Sending of a message to the execution `id`."""

    __slots__ = ("id", "key", "value")
    kind = "send"

    def __init__(self, id: str, name: str, value: Any, key: str | None = None) -> None:
        super().__init__(name)
        self.id = id
        self.value = value
        self.key = key


class PublishCommand(InboxCommand[None]):
    """Publication of a value."""

    __slots__ = ("value",)
    kind = "publish"

    def __init__(self, name: str, value: Any) -> None:
        super().__init__(name)
        self.value = value


class Messaging:
    """The methods of a context that return commands of messages and published state."""

    __slots__ = ()
    _state: CommandState

    @overload
    def receive(self, name: str, timeout: Seconds | None = None, *, result_type: type[T]) -> ReceiveCommand[T]: ...
    @overload
    def receive(self, name: str, timeout: Seconds | None = None) -> ReceiveCommand[Any]: ...
    def receive(
        self, name: str, timeout: Seconds | None = None, *, result_type: type[Any] | None = None
    ) -> ReceiveCommand[Any]:
        """Take the oldest message with this name from the inbox of the execution, and wait for one if there is none.

            text = yield ctx.receive("chat", timeout=3600)

        Each message is taken once, in the order in which the messages were accepted. A nested workflow takes from the
        inbox of its execution. The worker is released while it waits.

        Args:
            name: the name that the sender gives, 1 to 200 bytes.
            timeout: how long to wait, in seconds or as a `timedelta`; without limit by default. 0 does not wait.
            result_type: the type that the value is restored to. If it does not fit, the task is halted with a
                `ResultTypeError`. By default the value stays plain JSON data.

        Returns:
            A command. Yield or await it for the value of the message, or give it to `ctx.race` and the like. It raises
            a `TimeoutError` if no message was taken in time, and a `MessagesNotSupportedError` if the server has no
            messages.

        Raises:
            TypeError, ValueError: an argument has the wrong type or value.
        """
        require_name("name", name)
        seconds: Any = seconds_of(timeout)
        require("timeout", seconds, (int, float, type(None)), "in seconds")
        if seconds is not None and (not math.isfinite(seconds) or seconds < 0):
            raise ArgumentValueError(f"timeout must be a finite number of seconds, zero or more, got {seconds}")
        self._state.made += 1
        return ReceiveCommand(name, seconds, result_type)

    def send(self, id: str, name: str, value: Any = None, *, idempotency_key: str | None = None) -> SendCommand:
        """Send a message to a running execution.

            yield ctx.send("order-7", "note", "leave it at the door")

        The message is sent once, also if the workflow is replayed.

        Args:
            id: the id of the execution that receives it.
            name: the name that it is received by, 1 to 200 bytes.
            value: a value with a JSON form.
            idempotency_key: a second message to the execution with this key is not accepted again. By default it is
                derived from the command.

        Returns:
            A command. Yield or await it. It raises a `MessageError` if the message is not accepted: its classes are in
            `resonate.errors`. It raises a `PayloadError` if the value has no JSON form or is too large.

        Raises:
            TypeError, ValueError: an argument has the wrong type or value.
        """
        check_message(id, name, idempotency_key)
        self._state.made += 1
        return SendCommand(id, name, value, idempotency_key)

    def publish(self, key: str, value: Any) -> PublishCommand:
        """Make a value visible at once, in place of the value that the execution has published under this key before.

            yield ctx.publish("progress", {"done": 3, "of": 10})

        `Handle.published(key)` and `resonate tree` show it. No worker is started by it, and replay does not publish
        again.

        Args:
            key: the key, 1 to 200 bytes. Nested workflows share the keys of their execution.
            value: a value with a JSON form.

        Returns:
            A command. Yield or await it. It raises a `PayloadError` if the value has no JSON form or is too large, and
            a `MessagesNotSupportedError` if the server has no published state.

        Raises:
            TypeError, ValueError: the key has the wrong type or value.
        """
        require_name("key", key)
        self._state.made += 1
        return PublishCommand(key, value)


def check_message(id: Any, name: Any, key: Any) -> None:
    """Check the arguments of a message.

    Raises:
        TypeError, ValueError: an argument has the wrong type or value.
    """
    require("id", id, str)
    require_name("name", name)
    require_text("idempotency_key", key)
    if key == "":
        raise ArgumentValueError("idempotency_key is empty: leave it out to get one that is derived")


def require_name(what: str, name: Any) -> None:
    """Check the name of a message, or the key of a published value.

    Raises:
        TypeError: it is not a `str`.
        ValueError: the store would refuse it.
    """
    require(what, name, str)
    from resonate_store.model.ids import problem_with_name

    if problem := problem_with_name(what, name):
        raise ArgumentValueError(problem)
