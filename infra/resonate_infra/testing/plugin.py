"""pytest plugin with fixtures: a stack in memory and an offline stack.

- `resonate_stack`: a `resonate.testing.MemoryStack`, new for each test.
- `resonate_offline_stack`: a `resonate_infra.testing.stack.OfflineStack`. The ini option `resonate_template` names its
  template, and `resonate_worker` the code of its worker. It is created once in a session and emptied before each test.
- `resonate_each_stack`: runs the test twice, with each of these two stacks.

pytest loads this module in every environment with Resonate. So it imports modules of Resonate and AWS only when a test
uses a fixture.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from resonate.testing import MemoryStack, Stack
    from resonate_infra.testing.stack import OfflineStack


def pytest_load_initial_conftests() -> None:
    """Print a warning if the official SDK is installed too, because `resonate` is then a mixture of both packages."""
    from resonate_infra.distributions import conflict

    if "PYTEST_XDIST_WORKER" not in os.environ and (line := conflict()) is not None:
        print(f"warning: {line}", file=sys.stderr)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini options."""
    parser.addini(
        "resonate_template",
        "the SAM template that resonate_offline_stack deploys; default: template.yaml; relative to the ini file",
        type="paths",
        default=[],
    )
    parser.addini(
        "resonate_worker",
        "the file to load instead of the code of the template's WorkerFunction; relative to the ini file",
        type="paths",
        default=[],
    )


@pytest.fixture
def resonate_stack() -> Generator[MemoryStack]:
    """Yield an empty stack in memory."""
    from resonate.testing import MemoryStack

    with MemoryStack() as stack:
        yield stack


@pytest.fixture
def resonate_offline_stack(_resonate_deployed: Deployed) -> Generator[OfflineStack]:
    """Yield the deployment of the project's template on moto, with an empty table.

    The ini options `resonate_template` and `resonate_worker` select the template and the code of the worker. The test
    fails if the extras `[testing,api]` are not installed.
    """
    stack = _resonate_deployed.take()
    yield stack
    _resonate_deployed.set_aside()


@pytest.fixture(params=["memory", "offline"])
def resonate_each_stack(request: pytest.FixtureRequest) -> Stack:
    """Return a stack in memory in the first run of the test, and the offline stack in the second."""
    return request.getfixturevalue("resonate_stack" if request.param == "memory" else "resonate_offline_stack")


@pytest.fixture(scope="session")
def _resonate_deployed(pytestconfig: pytest.Config) -> Generator[Deployed]:
    deployed = Deployed(_file(pytestconfig, "resonate_template"), _file(pytestconfig, "resonate_worker"))
    yield deployed
    deployed.delete()


class Deployed:
    """Offline stack of a session. Between the tests that use it, AWS and the clock are restored.

    Args:
        template: the template to deploy, see `OfflineStack`.
        worker: the file to load instead of the code of `WorkerFunction`.
        name: the name of the stack. Another open stack must not have it. A stack that is opened while this one is set
            aside may have it, and replaces it.
    """

    def __init__(self, template: Path | None, worker: Path | None, name: str = "resonate") -> None:
        self._template = template
        self._name = name
        self._code = {"WorkerFunction": worker} if worker is not None else {}
        self._stack: OfflineStack | None = None
        self._aside = ExitStack()

    def take(self) -> OfflineStack:
        """Return the stack, active and empty."""
        from resonate_store.extras import MissingExtra, extra

        try:
            with extra("testing,api", "the offline stack"):
                from resonate_infra.testing.stack import OfflineStack
        except MissingExtra as error:
            pytest.fail(str(error), pytrace=False)
        self._aside.close()
        if self._stack is not None and not self._stack.intact:
            self._stack.__exit__()
            self._stack = None
        if self._stack is None:
            self._stack = OfflineStack(template=self._template, code=self._code, name=self._name).__enter__()
        else:
            self._stack.clear()
            self._stack.processes.forget_all()
        return self._stack

    def set_aside(self) -> None:
        """Deactivate the stack, and keep it for the next test."""
        if self._stack is not None:
            self._aside.enter_context(self._stack.set_aside())

    def delete(self) -> None:
        """Delete the stack at the end of the session."""
        self._aside.close()
        if self._stack is not None:
            self._stack.__exit__()


def _file(config: pytest.Config, option: str) -> Path | None:
    named: list[Path] = config.getini(option)
    if len(named) > 1 or not all(path.is_file() for path in named):
        files = ", ".join(map(str, named))
        raise pytest.UsageError(f"the ini option {option} has to name one file that exists, and names {files}")
    return named[0] if named else None
