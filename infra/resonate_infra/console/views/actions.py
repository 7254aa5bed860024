"""What a user does to an execution."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from resonate.client.messages import send as send_message
from resonate.errors import MessageError, MessagesNotSupportedError
from resonate.executions import Executions
from resonate.operations.forking import Forked
from resonate_infra.console.visit import Visit
from resonate_infra.inspection.arguments import json_of
from resonate_infra.inspection.exits import USAGE, Failure, code_for
from resonate_store.model.execution_requests import PromiseCancel
from resonate_store.model.ids import random_id
from resonate_store.model.requests import TaskContinue, TaskHalt

FORKED: Final = {
    "created": "It runs {source} again from command {at}; {copied} records were copied.",
    "completed": "It was begun before, and now runs {source} again from command {at}; {copied} records were copied.",
    "exists": "It exists already: it runs {source} again from command {at}.",
}
"""What a page says about each result of a fork."""


def cancel(visit: Visit) -> Response:
    """Cancel an execution, or end it at once."""
    id, force = _id(visit), visit.field("force") == "true"
    response = visit.session.ask(PromiseCancel(id, visit.field("reason"), force))
    promise = response.promise
    assert promise is not None
    if promise.pending:
        told = {
            "already": "It was cancelled before, and its workflow still runs. Force ends it at once.",
        }.get(response.cancel or "", "Cancelled. Its workflow gets an error where it waits, and may compensate.")
        return _back(visit, id, told)
    return _back(visit, id, "The execution has ended.")


def halt(visit: Visit) -> Response:
    """Halt the task of an execution."""
    id = _id(visit)
    visit.session.ask(TaskHalt(id, reason=visit.field("reason") or None))
    return _back(visit, id, "Halted. No worker gets its task until it is continued.")


def continue_(visit: Visit) -> Response:
    """Continue a halted task."""
    id = _id(visit)
    visit.session.ask(TaskContinue(id))
    return _back(visit, id, "Continued. Its task is offered to the workers.")


def retry_now(visit: Visit) -> Response:
    """End the pause before the next attempt."""
    id = _id(visit)
    retried = Executions(visit.session.store, visit.session.clock).retry_now(id) == "retried"
    return _back(visit, id, "The next attempt begins now." if retried else "Nothing of it waits for an attempt.")


def fork(visit: Visit) -> Response:
    """Run an execution again as a new one, from one of its commands."""
    executions = Executions(visit.session.store, visit.session.clock)
    forked = executions.fork(_id(visit), from_command=visit.field("from") or None, new_id=visit.field("new_id") or None)
    return _forked(visit, forked)


def redrive(visit: Visit) -> Response:
    """Run a failed execution again from the command that failed."""
    executions = Executions(visit.session.store, visit.session.clock)
    return _forked(visit, executions.redrive(_id(visit), from_command=visit.field("from") or None))


def _forked(visit: Visit, forked: Forked) -> Response:
    said = FORKED[forked.result].format(source=forked.source, at=forked.at, copied=forked.copied)
    return _back(visit, forked.id, " ".join((said, *forked.warnings)))


def delete(visit: Visit) -> Response:
    """Delete an execution that has ended."""
    id = _id(visit)
    count = Executions(visit.session.store, visit.session.clock).delete(id)
    visit.state.histories.forget(id)
    return visit.back(f"Deleted {id}, {count} records.", "/executions")


def send(visit: Visit) -> Response:
    """Send a message to an execution."""
    id, name = _id(visit), visit.field("name")
    if not name:
        raise Failure("give the name of the message", USAGE)
    value = json_of(visit.field("value") or "null", "the value")
    key = visit.field("key")
    try:
        send_message(visit.session.store, id, name, value, key or random_id(), compared=bool(key))
    except MessageError as error:
        raise Failure(f"the message is not accepted: {error.mesg}", code_for(error.status), error.status) from None
    except (MessagesNotSupportedError, ValueError) as error:
        raise Failure(str(error)) from None
    return _back(visit, id, f"The message {name} is accepted.", view="messages")


def _id(visit: Visit) -> str:
    id = visit.named()
    if not id:
        raise Failure("the form names no execution", USAGE)
    return id


def _back(visit: Visit, id: str, said: str, view: str | None = None) -> Response:
    visit.state.histories.forget(id)
    return visit.back(said, "/execution", id=id, view=view)
