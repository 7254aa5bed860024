"""Types of the messages of a `LocalMessageSource`."""

from __future__ import annotations

from typing import Literal, TypedDict


class TaskMesg(TypedDict):
    """The task that is offered."""

    id: str
    counter: int


class DurablePromiseValueMesg(TypedDict):
    """A payload: headers, and data in base64."""

    headers: dict[str, str] | None
    data: str | None


class DurablePromiseMesg(TypedDict):
    """The promise that was settled. Instants are milliseconds since the epoch."""

    id: str
    state: str
    timeout: int
    idempotencyKeyForCreate: str | None
    idempotencyKeyForComplete: str | None
    param: DurablePromiseValueMesg
    value: DurablePromiseValueMesg
    tags: dict[str, str] | None
    createdOn: int
    completedOn: int | None


class InvokeMesg(TypedDict):
    """Offer of a task that is not resumed by a promise."""

    type: Literal["invoke"]
    task: TaskMesg


class ResumeMesg(TypedDict):
    """Offer of a task that a settled promise has resumed."""

    type: Literal["resume"]
    task: TaskMesg


class NotifyMesg(TypedDict):
    """A settled promise, for a subscriber."""

    type: Literal["notify"]
    promise: DurablePromiseMesg


Mesg = InvokeMesg | ResumeMesg | NotifyMesg
