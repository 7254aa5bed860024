from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resonate.client.handle import Handle
from resonate_infra.testing.stack import OfflineStack
from tests.support import journal
from tests.support.worker_code import WORKFLOWS

Begin = Callable[..., Handle[Any]]
Redeploy = Callable[[Path], None]


@pytest.fixture(scope="module")
def deployed() -> Iterator[OfflineStack]:
    with OfflineStack(code={"WorkerFunction": WORKFLOWS}) as stack:
        yield stack


@pytest.fixture
def stack(deployed: OfflineStack) -> OfflineStack:
    """The stack as if it were new, but for its functions, which may be warm."""
    deployed.clear()
    journal.clear()
    return deployed


@pytest.fixture
def cold(stack: OfflineStack) -> None:
    """Every function is loaded anew, under the environment and patches of the test, and remembers nothing."""
    stack.processes.forget_all()


@pytest.fixture
def redeploy(stack: OfflineStack) -> Iterator[Redeploy]:
    """Replaces the worker's code until the test is over."""
    yield lambda code: stack.redeploy("WorkerFunction", code)
    stack.redeploy("WorkerFunction", WORKFLOWS)


@pytest.fixture
def begin(stack: OfflineStack) -> Iterator[Begin]:
    """Starts a workflow from outside: `begin(id, name, *arguments)`; keywords are options."""
    client = stack.client(group="client")

    def begin(id: str, name: str, *arguments: Any, **options: Any) -> Handle[Any]:
        given: dict[str, Any] = {"target": "worker", **options}
        return client.options(**given).begin_rpc(id, name, *arguments)

    yield begin
    client.stop()
