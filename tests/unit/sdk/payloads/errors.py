"""Rejected promises, and the errors that their awaiters get."""

from typing import Any

from resonate.payloads import codec
from resonate_store.model.records import EMPTY, PromiseState, PromiseView, Value


def rejected(value: Value, state: PromiseState = "rejected") -> PromiseView:
    """Return a promise that was settled with a value."""
    return PromiseView(
        id="p", state=state, param=EMPTY, value=value, tags={}, timeout_at=1_500, created_at=0, settled_at=1
    )


def travel_error(error: BaseException) -> BaseException:
    """Encode an error and decode it."""
    return codec.decode_error(rejected(codec.encode_error(error)))


def received(content: Any) -> BaseException:
    """Return the error that this content is decoded to."""
    return codec.decode_error(rejected(codec.encode(content, "an error")))
