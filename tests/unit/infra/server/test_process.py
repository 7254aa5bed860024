"""Process of the server: start, end, kill and log lines."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from resonate import Context, Resonate
from tests.support.dev_process import LINE, started
from tests.support.ports import free_port
from tests.support.server_api import PATIENCE, Api


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_server_stops_at_a_signal_and_ends_its_streams(number: signal.Signals) -> None:
    with started("--port", "0") as server:
        api = server.api()
        with api.poll("g", "1") as stream:
            assert api.http("GET", "/ready")[0] == 200
            assert server.end(number) == 0
            assert stream.line() == ""

    assert all(LINE.fullmatch(line) for line in server.lines), server.lines
    assert [line.split(maxsplit=2)[2] for line in server.lines] == [
        f"listening on http://localhost:{api.port}, promises are in memory; console: http://localhost:{api.port}/console",
        "g/1 connected",
        "g/1 disconnected",
        "stopped",
    ]


def test_query_of_a_request_is_masked_in_the_log() -> None:
    with started("--port", "0", "--log-level", "debug") as server:
        assert server.api().http("GET", "/health?token=s3cret")[0] == 200
        server.end(signal.SIGTERM)

    lines = "\n".join(server.lines)
    assert "/health?***" in lines
    assert "s3cret" not in lines


def test_acknowledged_writes_survive_a_kill(tmp_path: Path) -> None:
    data = str(tmp_path / "promises.db")
    with started("--port", "0", "--data", data) as server:
        api = server.api()
        for n in range(20):
            api.create(f"job-{n}", "poll://any@g")
        api.ask("promise.settle", id="job-0", state="resolved", value={"data": "kept"})
        assert server.end(signal.SIGKILL) == -signal.SIGKILL

    with started("--port", "0", "--data", data, "--log-level", "debug") as server:
        api = server.api()
        assert data in server.lines[0]
        promise = api.ask("promise.get", id="job-0")["promise"]
        assert (promise["state"], promise["value"]) == ("resolved", {"data": "kept"})
        with api.poll("g", "1") as worker:
            assert {worker.task() for _ in range(19)} == {f"job-{n}" for n in range(1, 20)}
        assert server.end(signal.SIGTERM) == 0
    assert any('"POST / HTTP/1.1" 200' in line for line in server.lines)


def test_log_lines_escape_control_characters_of_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_handlers.py").write_text(
        "def handler(event, context): raise RuntimeError(event['data']['task']['id'])"
    )
    monkeypatch.syspath_prepend(tmp_path)
    forged = "12:00:00.000 ERROR   forged"
    with started("--port", "0", "--lambda", "worker=my_handlers:handler") as server:
        api = server.api()
        api.create(f"a\n{forged}\x1b[2J\u2028", "poll://any@worker")
        failed = server.line()
        with api.poll("a%00%1B", "x"):
            connected = server.line()
        assert server.end(signal.SIGTERM) == 0

    assert failed.endswith(f"function worker failed: RuntimeError: a\\n{forged}\\x1b[2J\\u2028")
    assert connected.endswith("a\\x00\\x1b/x connected")
    assert all(LINE.fullmatch(line) and line.isprintable() for line in server.lines), server.lines
    assert forged not in server.lines


def test_traceback_of_a_function_is_logged_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_handlers.py").write_text("def handler(event, context): raise RuntimeError('it broke')")
    monkeypatch.syspath_prepend(tmp_path)
    with started("--port", "0", "--log-level", "debug", "--lambda", "worker=my_handlers:handler") as server:
        server.api().create("a", "poll://any@worker")
        while server.line() != "RuntimeError: it broke":
            pass
        assert server.end(signal.SIGTERM) == 0

    assert "Traceback (most recent call last):" in server.lines


def test_port_in_use_exits_with_code_1_and_one_line() -> None:
    with started("--port", "0") as first:
        port = str(first.api().port)
        with started("--port", port) as second:
            assert second.end() == 1

    assert second.lines == [
        f"error: cannot listen on localhost:{port}: Address already in use; choose another host or port"
    ]


def test_unimportable_function_exits_with_code_1_and_one_line() -> None:
    with started("--port", "0", "--lambda", "worker=no_such_module:handler") as server:
        assert server.end() == 1

    why = "importing no_such_module failed: ModuleNotFoundError: No module named 'no_such_module'"
    assert server.lines == [f"error: --lambda worker=no_such_module:handler: {why}"]


def test_server_killed_during_each_step_records_it_once(tmp_path: Path) -> None:
    """The step before is recorded, and its own record is not sent yet. The worker waits for the next server."""
    options = ("--port", str(free_port()), "--data", str(tmp_path / "promises.db"))
    ran: list[str] = []

    with ExitStack() as stack:
        servers = [stack.enter_context(started(*options))]
        url = f"http://localhost:{servers[0].api().port}"

        def step(ctx: Context) -> str:
            ran.append(ctx.id)
            servers[-1].end(signal.SIGKILL)
            servers.append(stack.enter_context(started(*options)))
            servers[-1].api()
            return ctx.id

        def workflow(ctx: Context) -> Generator[Any, Any, list[str]]:
            got: list[str] = []
            for _ in range(3):
                got.append((yield ctx.run(step)))
            return got

        resonate = Resonate.remote(url=url)
        resonate.register(workflow)
        assert resonate.run("w", workflow) == ["w.1", "w.2", "w.3"]
        resonate.stop()
        records = [Api(url).ask("promise.get", id=f"w.{n}")["promise"] for n in (1, 2, 3)]

    assert ran == ["w.1", "w.2", "w.3"]
    assert [record["state"] for record in records] == ["resolved"] * 3


RELOADED = """
from steps import greet
from resonate import Resonate

resonate = Resonate()


@resonate.register
def greeting(ctx):
    first = yield ctx.run(greet)
    yield (yield ctx.promise(id=f"{ctx.id}.go"))
    return [first, (yield ctx.run(greet))]


handler = resonate.handler()
"""


def test_saved_sources_continue_executions_that_began_before(tmp_path: Path) -> None:
    steps = tmp_path / "steps.py"
    steps.write_text("def greet(ctx): return 'one'")
    (tmp_path / "app.py").write_text(RELOADED)
    with started("--port", "0", "--lambda", "worker=app:handler", "--reload", cwd=tmp_path) as server:
        api = server.api()
        client = Resonate.remote(url=f"http://localhost:{api.port}", group="other")
        handles: list[Any] = []
        for id in ("a", "b"):
            api.create(f"{id}.go")
            handles.append(client.options(target="worker").begin_rpc(id, "greeting"))
            while f"task {id} version 1: suspended" not in server.line():
                pass
        steps.write_text("def greet(ctx): return (")
        while "SyntaxError" not in (failed := server.line()):
            pass
        client.promises.resolve("a.go")
        assert handles[0].result(PATIENCE) == ["one", "one"]
        steps.write_text("def greet(ctx): return 'two'")
        while "reloaded" not in (reloaded := server.line()):
            pass
        client.promises.resolve("b.go")
        assert handles[1].result(PATIENCE) == ["one", "two"]
        client.stop()
        assert server.end(signal.SIGTERM) == 0

    assert "importing app failed: SyntaxError: '(' was never closed (steps.py, line 1); the former code runs" in failed
    assert reloaded.endswith("reloaded worker after a change of steps.py")
    assert not list(tmp_path.rglob("*.pyc"))
    assert all(LINE.fullmatch(line) for line in server.lines), server.lines


def test_server_with_reload_waits_for_a_source_that_imports(tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text("def greet(ctx): return 'one'")
    (tmp_path / "app.py").write_text("def handler(")
    with started("--port", "0", "--lambda", "worker=app:handler", "--reload", cwd=tmp_path) as server:
        assert "its tasks wait for the next save" in server.line()
        api = server.api()
        client = Resonate.remote(url=f"http://localhost:{api.port}", group="other")
        api.create("a.go")
        client.promises.resolve("a.go")
        handle = client.options(target="worker").begin_rpc("a", "greeting")
        (tmp_path / "app.py").write_text(RELOADED)
        assert handle.result(PATIENCE) == ["one", "one"]
        client.stop()
        assert server.end(signal.SIGTERM) == 0
