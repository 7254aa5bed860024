"""Worker with the official Lambda shim. The server posts to its URL, and the worker calls the API."""

import base64
import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from resonate_infra.effects.transports import Pusher
from resonate_infra.testing.stack import OfflineStack
from resonate_store.model.records import Value
from resonate_store.model.requests import PromiseCreate, PromiseSettle
from resonate_store.model.tags import TARGET
from tests.support.clients.official import PROGRAMS, needs_python
from tests.support.clients.stack_api import PAUSE, Api
from tests.support.environments import Process, Surroundings
from tests.support.ports import free_port
from tests.support.present import present
from tests.support.tokens import public
from tests.support.tokens import token as token_of

pytestmark = needs_python
IN_A_DISTANT_FUTURE = 2**45


def encoded(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


CALL = encoded({"func": "total", "args": [[1, 2, 3]], "version": 1})


def instance(python: Path, port: int, **environment: str) -> Process:
    """Start the function URL of the worker at a port."""
    command = [python, "-E", PROGRAMS / "function_url.py", str(port)]
    # The environment of the tests must not reach it.
    return Process(command, PROGRAMS, **{"RESONATE_URL": "", "RESONATE_TOKEN": "", **environment})


def ran(*processes: Process) -> list[str]:
    """Return the steps that ran."""
    lines = [line for process in processes for line in process.lines]
    return [line for line in lines if line.startswith(("double", "discount", "approve"))]


def test_shim_workflow_completes_with_short_instances(surroundings: Callable[..., Surroundings], python: Path) -> None:
    server, port = surroundings(), free_port()
    # Only the messages have the address of the server.
    first = instance(python, port)
    try:
        first.line("ready")
        tags = {TARGET: f"http://localhost:{port}/worker"}
        create = {"id": "total-1", "timeoutAt": IN_A_DISTANT_FUTURE, "param": {"data": CALL}, "tags": tags}
        server.ask("promise.create", create)
        approval = first.line("approve ")
        first.line('replied 200 {"status":"suspended"}')
    finally:
        first.kill()
    second = instance(python, port)
    try:
        second.line("ready")
        server.resolve(approval, 100)
        second.line('replied 200 {"status":"completed"}')
    finally:
        second.kill()

    promise = server.ask("promise.get", {"id": "total-1"})["promise"]
    assert (promise["state"], promise["value"]) == ("resolved", {"data": encoded(109)})
    assert ran(first, second) == ["double 1", "double 2", "double 3", "discount 3", f"approve {approval}"]


@contextmanager
def deployed() -> Generator[tuple[OfflineStack, Api]]:
    # The process that posts a message also serves the API, so it must not wait for the response.
    with (
        patch("resonate_infra.deployed.wiring.Pusher", partial(Pusher, read_timeout_s=PAUSE)),
        OfflineStack(parameters={"AuthPublicKey": public("rsa")}, name="shim") as stack,
        Api(stack) as api,
    ):
        yield stack, api


def test_shim_workflow_completes_through_the_deployed_api(python: Path) -> None:
    with deployed() as (stack, api):
        port = free_port()
        token = token_of(prefix="total-", exp=stack.clock.now() // 1000 + 3600)
        worker = instance(python, port, RESONATE_URL=api.url, RESONATE_TOKEN=token)

        def serve_until(done: Callable[[], bool]) -> None:
            if not api.serve_until(done):
                raise AssertionError("the worker did not get on but said:\n" + "\n".join(worker.lines))

        def state(id: str) -> tuple[str, str | None]:
            """Return the states of a promise and its task."""
            record = present(stack.store.record(id))
            return record.state, record.task and record.task.state

        try:
            worker.line("ready")
            tags = {TARGET: f"http://localhost:{port}/worker"}
            stack.store.apply(PromiseCreate("total-1", IN_A_DISTANT_FUTURE, Value(data=CALL), tags=tags))
            # It also suspends for a call of its own, before it asks for the approval.
            serve_until(lambda: any(line.startswith("approve ") for line in worker.lines))
            serve_until(lambda: state("total-1") == ("pending", "suspended"))
            approval = ran(worker)[-1].removeprefix("approve ")
            stack.store.apply(PromiseSettle(approval, "resolved", Value(data=encoded(100))))
            serve_until(lambda: state("total-1")[0] == "resolved")
        finally:
            worker.kill()

        record = present(stack.store.record("total-1"))
        assert record.value.data == encoded(109)
        assert ran(worker) == ["double 1", "double 2", "double 3", "discount 3", f"approve {approval}"]
