"""Whatever comes in is answered by an envelope, and never by a 500.

Mutations of real requests reach deeper than random JSON: every value of an envelope in turn is replaced by something
that does not belong there, dropped or copied elsewhere. What is still a request meets a store in which requests before
it have left their traces: each of the substrates, and the development server behind HTTP.
"""

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from resonate_infra.conformance.__main__ import over_http
from resonate_infra.server.assembly import Server, ServerOptions
from resonate_store.local.memory import MemoryStore
from resonate_store.local.sqlite import SqliteStore
from resonate_store.protocol.wire import VERSION, encode_request
from tests.support.envelopes import envelope, read
from tests.support.hypothesis_settings import examples
from tests.support.samples import REQUESTS
from tests.support.services import service_over, service_over_a_table

Answer = Callable[[bytes], tuple[int, bytes]]
EXAMPLES = {
    "memory": examples(300, in_ci=1000),
    "sqlite": examples(90, in_ci=300),
    "dynamo": examples(20, in_ci=60),
    "http": examples(45, in_ci=150),
}
"""How many requests each server is asked, in the longest of the tests."""

Path = tuple[str | int, ...]


def documents() -> Iterator[dict[str, Any]]:
    for request in REQUESTS:
        kind, data = encode_request(request)
        yield {"kind": kind, "head": {"corrId": "c", "version": VERSION}, "data": msgspec.to_builtins(data)}
    for kind, data in {"start": {}, "stop": {}, "reset": {}, "snap": {}, "tick": {"time": 1_750_000_050_000}}.items():
        head = {"corrId": "c", "version": VERSION, "resonate:debug_time": 1_750_000_050_000, "auth": "x"}
        yield {"kind": f"debug.{kind}", "head": head, "data": data}


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from paths(item, (*path, key))


DOCUMENTS = list(documents())
PLACES = [(document, path) for document in DOCUMENTS for path in paths(document)]
SPLINTERS = st.sampled_from([b"\\ud800", b'"', b"\\u0000", b"{", b"}", b"[", b"-", b"1e999"])
STRANGE = st.one_of(
    st.sampled_from(
        [
            *(2**31, 2**53, 2**53 + 1, 2**63, 2**64, 10**40, 10**5000, -1, 0, 1.5, 1e300, float("nan"), float("inf")),
            *("", "\0", "\ud800", "\udc00x", "a" * 1001, "é", "💥"),
            *(".", "..", "a.", ".a", "{{.id}}", "${x}", "#", "%00"),
            *("poll://", "poll://any@", "http://[::1", "lambda://x:y:z", "https://x:99999/", "* * 31 2 *", "@yearly"),
            *("9" * 400, "-1", "1e9", "debug.x", "promise.get", "task.suspend", "resolved", "pending", "true", "null"),
            *(None, True, False, [], {}, [[]], [{}], {"": ""}, {"a": None}, {"resonate:target": "x"}),
            *({"resonate:delay": "9" * 400}, {"resonate:timer": "true", "resonate:target": "poll://any@default"}),
        ]
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from([value for document in DOCUMENTS for value in document["data"].values()]),
)


def replaced(value: Any, path: Path, new: Any) -> Any:
    if not path:
        return new
    head, *rest = path
    inner = replaced(value[head], tuple(rest), new)
    if isinstance(value, dict):
        return {**value, head: inner}
    assert isinstance(head, int)
    return [*value[:head], inner, *value[head + 1 :]]


def dropped(value: Any, path: Path) -> Any:
    head, *rest = path
    if rest:
        return replaced(value, (head,), dropped(value[head], tuple(rest)))
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if key != head}
    assert isinstance(head, int)
    return [*value[:head], *value[head + 1 :]]


@pytest.fixture(scope="module", params=EXAMPLES)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[Answer, int]]:
    """What answers, and how often it is asked."""
    count = EXAMPLES[request.param]
    if request.param == "http":
        with Server(ServerOptions(port=0, debug=True)).running() as running:
            yield over_http(f"http://localhost:{running.port}"), count
        return
    if request.param == "memory":
        yield service_over(MemoryStore).answer, count
    elif request.param == "sqlite":
        stores: list[SqliteStore] = []
        yield service_over(lambda clock: stores.append(SqliteStore(":memory:", clock)) or stores[0]).answer, count
        stores[0].close()
    else:
        with service_over_a_table(request.getfixturevalue("dynamo")) as service:
            yield service.answer, count


def check(answer: Answer, body: bytes) -> None:
    answered = read(answer(body))
    assert answered.status not in (500, 503), answered.data


def test_fuzz_of_values_is_answered_below_500(server: tuple[Answer, int]) -> None:
    answer, count = server

    @settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.sampled_from(PLACES), STRANGE, st.booleans())
    def holds(place: tuple[dict[str, Any], Path], new: Any, drop: bool) -> None:
        document, path = place
        changed = dropped(document, path) if drop and path else replaced(document, path, new)
        check(answer, _json(changed))

    holds()


def test_fuzz_of_bytes_in_requests_is_answered_below_500(server: tuple[Answer, int]) -> None:
    answer, count = server

    @settings(max_examples=count // 2, deadline=None)
    @given(st.sampled_from(DOCUMENTS), st.data())
    def holds(document: dict[str, Any], data: st.DataObject) -> None:
        body = bytearray(json.dumps(document).encode())
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(body)))
            body[at : at + data.draw(st.integers(0, 10))] = data.draw(st.binary(max_size=6) | SPLINTERS)
        check(answer, bytes(body))

    holds()


def test_fuzz_of_any_bytes_is_answered_below_500(server: tuple[Answer, int]) -> None:
    answer, count = server

    @settings(max_examples=count // 5, deadline=None)
    @given(st.binary(max_size=200))
    @example(b"[" * 200_000)
    @example(envelope("promise.get", {"id": "a"}).replace(b'"a"', b'"a", "x": ' + b'{"x":' * 200_000))
    @example(b'{"kind":"promise.get","head":' + b'{"x":' * 100_000 + b"1" + b"}" * 100_000 + b',"data":{}}')
    @example(b"\xef\xbb\xbf{}")
    @example("{}".encode("utf-16"))
    @example(b"1" * 100_000)
    def holds(body: bytes) -> None:
        check(answer, body)

    holds()


def _json(document: Any) -> bytes:
    """JSON with everything that JSON's own writer would refuse: numbers of any size, halves of surrogate pairs."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return json.dumps(document).encode()
    finally:
        sys.set_int_max_str_digits(before)
