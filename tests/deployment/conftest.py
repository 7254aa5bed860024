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


IN_BOTH_DELIVERIES = pytest.mark.parametrize("delivery", ["writer", "stream"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def delivery(request: pytest.FixtureRequest) -> str:
    """Return who delivers effects. `IN_BOTH_DELIVERIES` runs a test or a module in both ways."""
    return getattr(request, "param", "writer")


@pytest.fixture(scope="module")
def deployed(delivery: str) -> Iterator[OfflineStack]:
    with OfflineStack(code={"WorkerFunction": WORKFLOWS}, parameters={"Delivery": delivery}) as stack:
        yield stack


@pytest.fixture
def stack(deployed: OfflineStack) -> OfflineStack:
    """An empty stack whose functions may be warm."""
    deployed.clear()
    journal.clear()
    return deployed


@pytest.fixture
def cold(stack: OfflineStack) -> None:
    """Load the functions anew, with the environment and patches of the test."""
    stack.processes.forget_all()


@pytest.fixture
def redeploy(stack: OfflineStack) -> Iterator[Redeploy]:
    """Replace the code of the worker until the end of the test."""
    yield lambda code: stack.redeploy("WorkerFunction", code)
    stack.redeploy("WorkerFunction", WORKFLOWS)


@pytest.fixture
def begin(stack: OfflineStack) -> Iterator[Begin]:
    """Return a function that starts a workflow: `begin(id, name, *arguments)`. Keywords are options."""
    client = stack.client(group="client")

    def begin(id: str, name: str, *arguments: Any, **options: Any) -> Handle[Any]:
        given: dict[str, Any] = {"target": "worker", **options}
        return client.options(**given).begin_rpc(id, name, *arguments)

    yield begin
    client.stop()
