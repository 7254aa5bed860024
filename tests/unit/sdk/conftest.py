"""What a test runs on in the way that it is to run: see `tests.support.ways`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import patch

import pytest

from resonate import Resonate
from resonate.threads import Pool
from resonate.worker.async_functions import AsyncFunctions
from resonate_infra.testing.plugin import Deployed
from tests.support.driver import Driver, Drivers
from tests.support.serving import new_server  # noqa: F401  # pyright: ignore[reportUnusedImport]
from tests.support.steps import Diary
from tests.support.worker_code import REGISTERED

if TYPE_CHECKING:
    from tests.support.offline_driver import OfflineDriver


@pytest.fixture(scope="session")
def deployed() -> Iterator[Deployed]:
    """The deployment that all modules share. It is created at its first use, and set aside between uses."""
    deployed = Deployed(None, REGISTERED, "three-ways")
    yield deployed
    deployed.delete()


@pytest.fixture
def way(request: pytest.FixtureRequest) -> str:
    """One of `tests.support.ways.WAYS`."""
    return getattr(request, "param", "memory")


@pytest.fixture
def offline(way: str, deployed: Deployed) -> Iterator[OfflineDriver | None]:
    """The deployment, as if it were new, if that is the way."""
    if way == "memory":
        yield None
        return
    from tests.support.offline_driver import Here, OfflineDriver  # what runs in memory only need not load it

    # All processes have one event loop, so that the lost ones leave none.
    async_functions = AsyncFunctions()
    stack = deployed.take()
    try:
        with (
            patch("resonate.aws_lambda.handler.AsyncFunctions", lambda: async_functions),
            patch("resonate.threads.Pool", Here),
        ):
            yield OfflineDriver(stack, forgetful=way == "forgetful")
    finally:
        async_functions.stop()
        deployed.set_aside()


@pytest.fixture
def driver(offline: OfflineDriver | None) -> Iterator[Driver]:
    """A worker over a store in memory, or the deployment."""
    if offline is not None:
        yield cast("Driver", offline)
        return
    driver = Driver()
    yield driver
    driver.resources.async_functions.stop()


Connect = Callable[..., Resonate]


@pytest.fixture
def connect(offline: OfflineDriver | None) -> Iterator[Connect]:
    """Makes connections to memory, or to the deployment, that are stopped when the test is over."""
    made: list[Resonate] = []

    def connect(**arguments: Any) -> Resonate:
        made.append(Resonate.local(**arguments) if offline is None else offline.connect(**arguments))
        return made[-1]

    yield connect
    for resonate in made:
        resonate.stop()


@pytest.fixture
def resonate(connect: Connect) -> Resonate:
    return connect(workers=4)


@pytest.fixture
def drivers() -> Iterator[Drivers]:
    """Make drivers in memory, one for each case of a test."""
    made: list[Driver] = []

    def make(**arguments: Any) -> Driver:
        made.append(Driver(**arguments))
        return made[-1]

    yield make
    for driver in made:
        driver.resources.async_functions.stop()


@pytest.fixture
def diary() -> Diary:
    return Diary()


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(4, "pool") as pool:
        yield pool
