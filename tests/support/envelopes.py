"""Envelopes in one line, for tests of the protocol's server side."""

import json
from typing import Any, NamedTuple

from resonate_store.protocol.service import Service
from resonate_store.protocol.wire import VERSION

TARGET = {"resonate:target": "poll://any@default"}
LATER = 1_750_000_000_000 + 86_400_000
"""A day after a `ManualClock` begins."""


class Answer(NamedTuple):
    status: int
    data: Any
    envelope: dict[str, Any]


def envelope(kind: str, data: Any, **head: Any) -> bytes:
    document = {"kind": kind, "head": {"corrId": "c1", "version": VERSION, **head}, "data": data}
    return json.dumps(document).encode()


def ask(service: Service, kind: str, data: Any, **head: Any) -> Answer:
    return read(service.answer(envelope(kind, data, **head)))


def read(answer: tuple[int, bytes]) -> Answer:
    """The parts of an answer, which is an envelope whatever was asked."""
    status, body = answer
    document = json.loads(body)
    assert document.keys() == {"kind", "head", "data"}
    assert document["head"].keys() - {"resonate:time", "resonate:kinds"} == {"corrId", "status", "version"}
    assert document["head"]["status"] == status
    assert isinstance(document["data"], str) == (status >= 400)
    return Answer(status, document["data"], document)
