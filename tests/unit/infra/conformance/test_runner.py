"""Runner of scripts, over servers that answer correctly and incorrectly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resonate_infra.conformance.reading import load
from resonate_infra.conformance.runner import START, Failed, NoResponse, Runner
from resonate_infra.conformance.script import Script
from resonate_store.protocol.wire import VERSION

Make = Callable[[str], Script]
Reply = Callable[[str, Any, dict[str, Any]], tuple[int, Any]]
"""Function of the kind, data and head of a request. It returns the status and data of the response."""


class Server:
    """Server that answers debug requests with nothing, and all other requests by a function."""

    def __init__(self, reply: Reply, messages: Any = ()) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.heads: list[dict[str, Any]] = []
        self._reply = reply
        self._messages = list(messages)

    def __call__(self, body: bytes) -> tuple[int, bytes]:
        request = json.loads(body)
        kind, data, head = request["kind"], request["data"], request["head"]
        self.asked.append((kind, data))
        self.heads.append(head)
        status, answer = self._debug(kind) if kind.startswith("debug.") else self._reply(kind, data, head)
        response = {"corrId": head["corrId"], "status": status, "version": VERSION}
        return status, json.dumps({"kind": kind, "head": response, "data": answer}).encode()

    def _debug(self, kind: str) -> tuple[int, Any]:
        if kind == "debug.snap":
            return 200, {"messages": self._messages}
        return 200, [] if kind == "debug.tick" else {}


def echo(_kind: str, data: Any, _head: dict[str, Any]) -> tuple[int, Any]:
    return 200, data


@pytest.fixture
def script(tmp_path: Path) -> Make:
    def make(steps: str) -> Script:
        path = tmp_path / "some.yaml"
        path.write_text(f"- title: a title\n  covers: [1.2]\n  differs: a reason\n  steps:\n{steps}", encoding="utf-8")
        return load(path)[0]

    return make


def failure(server: Any, script: Script, **options: Any) -> str:
    with pytest.raises(Failed) as failed:
        Runner(server, **options).run(script)
    return str(failed.value)


def test_script_runs_on_an_empty_server_and_its_own_time(script: Make) -> None:
    server = Server(echo)
    runner = Runner(server, token="secret")
    runner.run(script("    - {clock: 7}\n    - k: {at: <at 5>, now: <now>}\n      200: {at: <at 5>, now: <now>}\n"))
    runner.finish()

    assert server.asked == [
        ("debug.reset", {}),
        ("debug.start", {}),
        ("k", {"at": START + 5, "now": START + 7}),
        ("debug.reset", {}),
        ("debug.stop", {}),
    ]
    assert [head.get("resonate:debug_time") for head in server.heads] == [START, START, START + 7, None, None]
    assert {head["auth"] for head in server.heads} == {"secret"}
    assert len({head["corrId"] for head in server.heads}) == 5


def test_scripts_without_debugging_have_ids_of_their_own(script: Make) -> None:
    server = Server(echo)
    runner = Runner(server, clock=lambda: 100, prefix="run-")
    asking = script(
        "    - k: {id: a.1, t: <at 5>, tags: {resonate:origin: a, x: <id b>}, promiseId: '{{.id}}.1', e: {id: ''}}\n"
        "      200: {id: a.1, t: 105, tags: {resonate:origin: a, x: <id b>}, promiseId: '{{.id}}.1', e: {id: ''}}\n"
        "    - k: {id: <long 10>, now: 12}\n      200: {id: <long 10>, now: <now>}\n"
    )
    runner.run(asking)
    runner.run(asking)
    runner.finish()

    first, long, second, _ = (data for _, data in server.asked)
    assert first["id"] == "run-1-a.1"
    assert first["tags"] == {"resonate:origin": "run-1-a", "x": "run-1-b"}
    assert (first["promiseId"], first["e"]) == ("{{.id}}.1", {"id": ""})
    assert long["id"] == "run-1-aaaa"[:10]
    assert second["id"] == "run-2-a.1"
    assert all("resonate:debug_time" not in head for head in server.heads)


def test_runner_without_debugging_skips_timed_scripts(script: Make) -> None:
    timed, plain = script("    - {tick: 1}\n"), script("    - {k: {}, 200: {}}\n")

    assert [Runner(Server(echo)).runs(each) for each in (timed, plain)] == [True, True]
    assert [Runner(Server(echo), clock=lambda: 0).runs(each) for each in (timed, plain)] == [False, True]


def test_failure_names_the_step_and_the_difference(script: Make) -> None:
    message = failure(Server(lambda *_: (200, {"a": {"b": 1}})), script("    - k: {id: x}\n      200: {a: {b: 2}}\n"))

    assert message.splitlines() == [
        'some.yaml:5: \'a title\', step 1, k {"id": "x"}',
        "    data.a.b: expected 2, found 1",
        '    in {"status": 200, "data": {"a": {"b": 1}}}',
        "    the official server differs here, and is meant to: a reason",
    ]


def test_unexpected_status_is_a_failure(script: Make) -> None:
    message = failure(Server(lambda *_: (409, "why")), script("    - k: {}\n      200: <any>\n"))

    assert 'status: expected 200, found 409\n    in {"status": 409, "data": "why"}' in message


def test_failure_names_the_repetition(script: Make) -> None:
    server = Server(lambda _kind, data, _head: (200, {}) if data["id"] != "a.3" else (404, "no"))
    message = failure(server, script("    - k: {id: a.<n>}\n      times: 5\n      200: {}\n"))

    assert "in repetition 3" in message
    assert [data["id"] for kind, data in server.asked if kind == "k"] == ["a.1", "a.2", "a.3"]


def test_kept_value_is_sent(script: Make) -> None:
    server = Server(lambda _kind, data, _head: (200, {"cursor": data.get("cursor", "c")}))
    Runner(server).run(
        script("    - k: {}\n      200: {cursor: <keep x>}\n    - k: {cursor: <kept x>}\n      200: <any>\n")
    )

    assert server.asked[-1] == ("k", {"cursor": "c"})


def pages(*found: list[str]) -> Reply:
    def reply(_kind: str, data: Any, _head: dict[str, Any]) -> tuple[int, Any]:
        number = int(data.get("cursor", "0"))
        page = {"tasks": [{"id": id} for id in found[number]]}
        return 200, page if number + 1 == len(found) else {**page, "cursor": str(number + 1)}

    return reply


def test_follow_reads_all_pages(script: Make) -> None:
    step = script("    - k: {limit: 2}\n      follow: true\n      200: {tasks: [{id: a}, {id: b}, {id: c}]}\n")

    Runner(Server(pages(["c", "a"], [], ["b"]))).run(step)
    assert "3 tasks, which is more than its limit" in failure(Server(pages(["a", "b", "c"])), step)
    assert "data.tasks[2]: expected" in failure(Server(pages(["a"], ["b"])), step)
    assert 'data.tasks[1].id: expected "b", found "a"' in failure(Server(pages(["a"], ["a"], ["b"], ["c"])), step)
    assert "no last page" in failure(Server(lambda *_: (200, {"tasks": [], "cursor": "0"})), step)
    assert "a page is answered with" in failure(Server(lambda *_: (400, "no")), step)
    assert "a page is answered with" in failure(Server(lambda *_: (200, [])), step)
    assert "tasks that are no list of records" in failure(Server(lambda *_: (200, {"tasks": 1})), step)
    assert "tasks that are no list of records" in failure(Server(lambda *_: (200, {"tasks": [{}]})), step)


def test_messages_are_compared_in_any_order_and_removed(script: Make) -> None:
    step = script("    - messages: [{address: b}, !has {address: a}]\n")
    server = Server(echo, [{"address": "a", "message": {}}, {"address": "b"}])
    Runner(server).run(step)

    assert [kind for kind, _ in server.asked][-3:] == ["debug.snap", "debug.stop", "debug.start"]
    assert "expected 2 messages, found 1" in failure(Server(echo, [{"address": "a"}]), step)
    assert "expected the message" in failure(Server(echo, [{"address": "b"}, {"address": "c"}]), step)


def test_body_is_sent_unchanged(script: Make) -> None:
    bodies: list[bytes] = []

    def send(body: bytes) -> tuple[int, bytes]:
        bodies.append(body)
        return 400, b'{"kind": "unknown", "head": {}, "data": "no"}'

    steps = "    - body: '{'\n      400: !has {data: 'no'}\n    - body: {a: 1}\n      400: !has {kind: known}\n"
    message = failure(send, script(steps), clock=lambda: 0)

    assert bodies == [b"{", b'{"a": 1}']
    assert 'envelope.kind: expected "known", found "unknown"' in message


MALFORMED: list[tuple[tuple[int, bytes], str]] = [
    ((200, b"<html>"), "the body is not JSON"),
    ((200, b"[]"), "the body is no envelope"),
    ((200, b'{"kind": "k", "data": {}}'), "the body is no envelope"),
    ((200, b'{"kind": "other", "head": {}, "data": {}}'), "kind: expected"),
    ((200, b'{"kind": "k", "head": {"corrId": "other"}, "data": {}}'), "head.corrId: expected"),
]


def test_malformed_response_is_a_failure(script: Make, subtests: pytest.Subtests) -> None:
    for answer, problem in MALFORMED:
        with subtests.test(problem, answer=answer):
            assert problem in failure(lambda _: answer, script("    - k: {}\n      200: {}\n"), clock=lambda: 0)  # noqa: B023


def test_statuses_of_http_and_envelope_must_agree(script: Make) -> None:
    server = Server(echo)

    def send(body: bytes) -> tuple[int, bytes]:
        return 201, server(body)[1]

    assert "head.status: expected 201" in failure(send, script("    - k: {}\n      200: {}\n"), clock=lambda: 0)


def test_error_that_is_not_a_text_is_a_failure(script: Make) -> None:
    message = failure(Server(lambda *_: (404, {"error": "no"})), script("    - k: {}\n      404: <any>\n"))

    assert "data: expected a text" in message


def test_server_without_debugging_raises_no_response(script: Make) -> None:
    def send(body: bytes) -> tuple[int, bytes]:
        request = json.loads(body)
        head = {"corrId": request["head"]["corrId"], "status": 403, "version": VERSION}
        return 403, json.dumps({"kind": request["kind"], "head": head, "data": "off"}).encode()

    with pytest.raises(NoResponse, match=r"debug\.reset: the server is not to be driven"):
        Runner(send).run(script("    - k: {}\n      200: {}\n"))
    with pytest.raises(NoResponse, match="not JSON"):
        Runner(lambda _: (200, b"")).run(script("    - k: {}\n      200: {}\n"))
