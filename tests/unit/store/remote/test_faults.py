"""Faults of a line to a server: those that a remote store repeats its request after, and those that it raises."""

from __future__ import annotations

from itertools import pairwise

import pytest

from resonate_store.interface import StoreError, StoreUnreachable
from resonate_store.model.requests import PromiseCreate, PromiseGet, PromiseSearch, Response
from resonate_store.remote.http import Reply
from resonate_store.remote.store import HttpStore
from tests.support.remote import LATER, T0, Client, envelope, new_client  # noqa: F401
from tests.support.wire import URL


def test_request_is_repeated_after_a_transient_fault(subtests: pytest.Subtests) -> None:
    for fault in [
        "refused",
        "lost",
        Reply(503, {}, b"busy"),
        Reply(429, {}, b""),
        Reply(502, {}, b"<html>"),
        envelope(500, "Internal error"),
    ]:
        with subtests.test(fault=fault):
            client = Client()
            client.line.faults = [fault] * 3
            response = client.apply(PromiseCreate("p", LATER))

            assert response.ok
            assert len(client.line.bodies) == 4
            assert client.clock.now() - T0 == 50 + 100 + 200


def test_pauses_between_repetitions_double_up_to_five_seconds(client: Client) -> None:
    tries: list[int] = []

    def note(_: bytes) -> str:
        tries.append(client.clock.now())
        return "refused"

    client.line.faults = [note] * 9
    store = HttpStore(URL, clock=client.clock, jitter=lambda: 0.5, post=client.line, timeout=100)
    assert store.apply(PromiseCreate("p", LATER)).ok
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert pauses == [38, 75, 150, 300, 600, 1200, 2400, 3750]


def test_pause_is_that_of_the_retry_after_header(client: Client) -> None:
    client.line.faults = [Reply(429, {"retry-after": "3"}, b"")]
    assert client.apply(PromiseGet("p")).status == 404
    assert client.clock.now() - T0 == 3000


def test_request_without_an_answer_fails_within_its_timeout(client: Client) -> None:
    client.line.faults = ["refused"] * 100
    with pytest.raises(StoreUnreachable, match="http://server cannot be reached: connection refused"):
        client.apply(PromiseGet("p"))
    assert 5_000 <= client.clock.now() - T0 <= 10_000


def test_request_within_a_shorter_time_fails_earlier(client: Client) -> None:
    client.line.faults = ["refused"] * 100
    with pytest.raises(StoreUnreachable):
        client.store.within(1).apply(PromiseGet("p"))
    assert client.clock.now() - T0 <= 1_000
    assert all(timeout <= 1 for timeout in client.line.timeouts)


def test_server_error_is_returned_and_501_and_413_at_once(client: Client) -> None:
    client.line.faults = [envelope(500, "Internal error")] * 100
    assert client.apply(PromiseGet("p")) == Response(status=500, error="Internal error")
    client.line.faults = [envelope(501, "no search"), Reply(413, {}, b"too large")]
    assert client.count(lambda: client.apply(PromiseSearch())) == 1
    assert client.apply(PromiseGet("p")) == Response(status=413, error="413 too large")


def test_request_of_a_stopping_process_is_not_repeated(client: Client) -> None:
    def stop(_: bytes) -> str:
        client.store.insistent = False
        return "refused"

    client.line.faults = [stop]
    with pytest.raises(StoreUnreachable):
        client.apply(PromiseGet("p"))
    assert client.clock.now() == T0


def test_outage_is_logged_once_at_begin_and_end(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    client.line.faults = ["refused"] * 3
    client.apply(PromiseGet("p"))
    client.apply(PromiseGet("p"))
    assert [record.getMessage() for record in caplog.records] == [
        "http://server cannot be reached, trying again: connection refused",
        "http://server answers again",
    ]


def test_response_of_another_server_raises_an_error_at_once(subtests: pytest.Subtests) -> None:
    for reply, message in [
        (Reply(404, {}, b"Not Found"), "http://server is not a Resonate server: it answers 404 Not Found"),
        (Reply(200, {}, b"<html>hello</html>"), "is not a Resonate server: it answers 200 <html>hello"),
        (Reply(405, {}, b""), "is not a Resonate server: it answers 405 without a body"),
        (Reply(200, {}, b"{}"), "is not a Resonate server"),
        (Reply(410, {}, b'{"error": "update"}'), "does not speak this protocol any more: 410"),
        (Reply(301, {"location": "https://there/"}, b""), "redirects to https://there/: use that url"),
        (Reply(403, {}, b'{"message":"Missing Authentication Token"}'), r"refuses us .*Missing.*iam=True"),
    ]:
        with subtests.test(reply=reply, message=message):
            client = Client()
            client.line.faults = [reply]
            with pytest.raises(StoreError, match=message) as caught:
                client.apply(PromiseGet("p"))
            assert not isinstance(caught.value, StoreUnreachable)
            assert len(client.line.bodies) == 1


def test_response_without_the_requested_data_raises_an_error(client: Client) -> None:
    client.line.faults = [lambda _: envelope(200, {})]
    with pytest.raises(StoreError, match=r"http://server: Invalid response to promise\.get: it holds no promise"):
        client.apply(PromiseGet("p"))
