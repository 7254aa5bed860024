"""Client of this SDK with the deployed API as its server."""

import sys
import threading
from typing import Any

import pytest

from resonate import Resonate
from resonate.errors import ResonateStoreError
from resonate_infra.testing.stack import OfflineStack
from tests.support.clients.stack_api import Api
from tests.support.environments import ROOT, Process
from tests.support.tokens import public
from tests.support.tokens import token as token_of


def test_remote_client_gets_results_of_a_deployment(caplog: pytest.LogCaptureFixture) -> None:
    with OfflineStack(parameters={"AuthPublicKey": public("rsa")}, name="remote") as stack, Api(stack) as api:
        token = token_of(prefix="nap-", exp=stack.clock.now() // 1000 + 3600)
        resonate = Resonate.remote(url=api.url, token=token, group="client")
        outcomes: list[Any] = []

        def ask() -> None:
            try:
                # It cannot poll here, so it reads the promise until it is settled.
                napping = resonate.options(target="worker").begin_rpc("nap-1", "sleeping_workflow", "nap-1", secs=0.5)
                outcomes.append(napping.result(60))
                with pytest.raises(ResonateStoreError) as refused:
                    resonate.options(target="worker").begin_rpc("other-1", "hello_world", "you")
                outcomes.append(refused.value.code)
            except BaseException as error:
                outcomes.append(error)

        client = threading.Thread(target=ask)
        client.start()

        def done() -> bool:
            stack.advance(seconds=1)
            return not client.is_alive()

        assert api.serve_until(done), outcomes
        resonate.stop()

    assert outcomes == ["Workflow nap-1 completed after sleeping for 0.5 seconds.", 100.403]
    # A client without functions needs no poll connection.
    assert "cannot be polled" not in caplog.text


def test_published_client_runs_with_the_environment_of_a_deployment() -> None:
    with OfflineStack(parameters={"AuthPublicKey": public("rsa")}, name="published") as stack, Api(stack) as api:
        token = token_of(prefix="sleep-workflow-", exp=stack.clock.now() // 1000 + 3600)
        command = [sys.executable, "-P", ROOT / "examples/durable_sleep/client.py"]
        client = Process(command, RESONATE_URL=api.url, RESONATE_TOKEN=token)
        try:
            assert api.serve_until(lambda: stack.store.record("sleep-workflow-1") is not None), client.lines
            began = stack.clock.now()

            def done() -> bool:
                stack.advance(seconds=1)
                return client.lines != []

            assert api.serve_until(done)
            assert client.end() == 0
        finally:
            client.kill()

    assert client.lines == ["Workflow sleep-workflow-1 completed after sleeping for 5.0 seconds."]
    assert stack.clock.now() - began >= 5_000
