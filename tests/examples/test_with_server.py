"""Examples with several processes: a development server, and the commands of their READMEs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.support.environments import PATIENCE, Process, Surroundings
from tests.support.example_programs import command, commands, server_options, start, task_state, until
from tests.support.hypothesis_settings import in_ci
from tests.support.ports import free_port


def ask(method: str, url: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    """Return status and JSON of a response."""
    response = urllib3.request(method, url, json=body, timeout=PATIENCE, retries=False)
    return response.status, response.json() if response.data[:1] in (b"{", b"[") else None


def says(process: Process, text: str) -> str:
    """Wait for a line that contains the text."""
    while text not in (line := process.line("")):
        pass
    return line


@in_ci
def test_durable_sleep(server: Surroundings) -> None:
    worker, client = (command("durable_sleep", program) for program in ("worker.py", "client.py"))
    first, asking = start(server, worker), start(server, client)
    first.line("Workflow sleep-workflow-1 starting, will sleep for 5.0 seconds.")
    until(lambda: task_state(server, "sleep-workflow-1") == "suspended", "the workflow sleeps")
    first.kill()
    second = start(server, worker)
    result = "Workflow sleep-workflow-1 completed after sleeping for 5.0 seconds."
    assert (asking.end(), asking.lines) == (0, [result])

    # No worker runs any more.
    second.kill()
    again = start(server, client)
    assert (again.end(), again.lines) == (0, [result])


def test_human_in_the_loop(server: Surroundings) -> None:
    port = free_port()
    gateway = f"http://localhost:{port}"
    begin = f"{gateway}/start-workflow"
    first = start(server, command("human_in_the_loop", "worker.py"), GATEWAY_URL=gateway)
    says(start(server, command("human_in_the_loop", "flask"), {"5001": str(port)}), "Running on")

    assert ask("POST", begin)[0] == ask("POST", begin, {})[0] == 400
    assert ask("POST", begin, {"workflow_id": "x" * 2_000})[0] == 400
    assert ask("GET", f"{gateway}/unblock-workflow")[0] == 400
    assert ask("GET", f"{gateway}/unblock-workflow?promise_id=nobody")[0] == 404
    assert ask("POST", begin, {"workflow_id": "order-1"}) == (200, {"message": "workflow order-1 started"})
    link = first.line("email: follow ")
    until(lambda: task_state(server, "order-1") == "suspended", "the workflow waits")
    first.kill()
    second = start(server, command("human_in_the_loop", "worker.py"), GATEWAY_URL=gateway)
    second.line("worker is running...")
    assert ask("POST", begin, {"workflow_id": "order-1"})[1] == {"message": "workflow order-1 started"}

    assert ask("GET", link) == ask("GET", link) == (200, {"message": "workflow unblocked"})
    second.line("workflow order-1 is unblocked")
    until(
        lambda: ask("POST", begin, {"workflow_id": "order-1"}) == (200, {"message": "workflow order-1 completed"}),
        "the gateway has the result",
    )
    assert not [line for line in second.lines if line.startswith("email")], "it was sent once"

    odd = {"workflow_id": "order 2/ü&a=b#"}
    assert ask("POST", begin, odd)[0] == 200
    assert ask("GET", second.line("email: follow ")) == (200, {"message": "workflow unblocked"})
    second.line(f"workflow {odd['workflow_id']} is unblocked")


@pytest.mark.parametrize(
    ("example", "program", "refused"), [("async_gateway", "chalice", 400), ("async_gateway_fastapi", "uvicorn", 422)]
)
@in_ci
def test_async_gateway(server: Surroundings, example: str, program: str, refused: int) -> None:
    port = free_port()
    reports = f"http://localhost:{port}/reports"
    good, bad = f"{example}-1", f"{example}-2"
    gateway = start(server, command(example, program), {"8000": str(port)})
    says(gateway, f":{port}")

    assert ask("GET", f"{reports}/{good}")[0] == 404
    assert ask("POST", reports, {"id": good})[0] == refused
    for id, why in (("", "the id is empty"), ("a/b", "has no slash"), ("x" * 2_000, "1000 is the limit")):
        status, message = ask("POST", reports, {"id": id, "customer": "ada"})
        assert (status, why in str(message)) == (400, True), message
    odd = ask("POST", reports, {"id": f"{example} ?#%", "customer": "ada"})[1]["status"]
    assert ask("GET", f"http://localhost:{port}{odd}") == (200, {"status": "pending"})
    submitted = ask("POST", reports, {"id": good, "customer": "ada", "secs": 0.5})
    assert submitted == (202, {"id": good, "status": f"/reports/{good}"})
    assert ask("POST", reports, {"id": bad, "customer": "4da"})[0] == 202
    # No worker runs yet, and the gateway does not wait.
    assert ask("GET", f"{reports}/{good}") == (200, {"status": "pending"})

    start(server, command(example, "worker.py"))
    until(lambda: ask("GET", f"{reports}/{good}")[1]["status"] == "completed", "the report is made")
    assert ask("GET", f"{reports}/{good}")[1]["result"] == {"customer": "ada", "orders": 3}
    until(lambda: ask("GET", f"{reports}/{bad}")[1]["status"] == "failed", "the other one fails")
    assert ask("GET", f"{reports}/{bad}")[1]["error"] == "'4da' is nobody's name"


@pytest.mark.parametrize(
    ("example", "program", "parcel"),
    [("fastapi_app", "uvicorn --", "tea of acme"), ("chalice_app", "chalice --", "a box of tea")],
)
def test_web_application(server: Surroundings, example: str, program: str, parcel: str) -> None:
    port = free_port()
    number = 17 if example == "fastapi_app" else 18
    run, ordering = command(example, program), command(example, "curl")
    says(start(server, run, {"8000": str(port), "http://localhost:8001": server.url}), f":{port}")
    if example == "chalice_app":
        worker = start(server, command(example, "worker.py"), {"http://localhost:8001": server.url})
        worker.line("worker is running...")

    ordered = start(server, ordering, {"8000": str(port), "17": str(number)})
    assert ordered.end() == 0
    status_url = f"/executions/parcel-{number}"
    assert any(f'"status_url":"{status_url}"' in line for line in ordered.lines), ordered.lines
    execution = f"http://localhost:{port}{status_url}"
    progress = {"progress": "waiting for the carrier"}
    until(lambda: ask("GET", execution)[1]["published"] == progress, "the parcel waits")
    until(lambda: ask("GET", execution)[1]["state"] == "resolved", "the order is fulfilled")
    assert ask("GET", execution)[1]["result"] == {"parcel": parcel}
    assert ask("GET", f"http://localhost:{port}/executions/parcel-999")[0] == 404


@in_ci
def test_load_balancing(server: Surroundings) -> None:
    run_worker = command("load_balancing", "worker.py")
    workers = {name: start(server, run_worker, {"worker-1": name}) for name in ("worker-1", "worker-2", "worker-3")}
    for name in workers:
        connected = f"worker/{name} connected"
        until(lambda text=connected: any(text in line for line in server.server.lines), connected)

    batch = start(server, command("load_balancing", "client.py"))
    assert batch.end() == 0, batch.lines
    *shares, total = batch.lines
    # In one of three million runs a worker gets none of the 40 items by chance.
    assert [share.partition(":")[0] for share in shares] == list(workers)
    assert total == "sum of squares: 22140"

    long = start(server, "python examples/load_balancing/client.py batch-2 1 1.5")
    until(lambda: task_state(server, "batch-2-1") == "acquired", "a worker begins the item")
    killed = server.ask("task.get", {"id": "batch-2-1"})["task"]["pid"]
    workers.pop(killed).kill()
    assert long.end() == 0, long.lines
    assert long.lines[0] in [f"{name}: 1 items" for name in workers]


@in_ci
def test_token_authentication(server: Surroundings, surroundings: Callable[..., Surroundings], tmp_path: Path) -> None:
    directory: dict[str, str | Path] = {"build/keys": tmp_path}
    # This command needs no server. It makes the key of the guarded server.
    assert start(server, command("token_auth", "keys.py"), directory).end() == 0
    guarded = surroundings(None, *server_options("token_auth", **directory))

    own, other, anonymous = [each for each in commands("token_auth") if "client.py" in each]
    programs = [start(guarded, each, directory) for each in (own, other, anonymous)]
    assert [(each.end(), each.lines) for each in programs] == [
        (0, ["run: hello world!", "rpc: hello world!"]),
        (1, ["403 Forbidden"]),
        (1, ["401 Unauthorized"]),
    ]
