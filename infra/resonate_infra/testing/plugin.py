"""The pytest plugin: a stack in memory and an offline stack as fixtures.

pytest loads this module in every run of an environment that has Resonate installed, so it imports nothing of ours and
nothing of AWS before a test asks for a fixture.

- `resonate_stack`: a `resonate.testing.MemoryStack`, new for each test.
- `resonate_offline_stack`: a `resonate_infra.testing.stack.OfflineStack` of the template that the ini option
  `resonate_template` names, whose worker is the module that `resonate_worker` names. It is created once and is as good
  as new for each test.
- `resonate_each_stack`: one after the other, for a test that holds on both.
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
    """Say it if the official SDK is installed too: what a test imports as `resonate` is then a mixture of both."""
    from resonate_infra.distributions import conflict

    if "PYTEST_XDIST_WORKER" not in os.environ and (line := conflict()) is not None:
        print(f"warning: {line}", file=sys.stderr)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini options."""
    parser.addini(
        "resonate_template",
        "the SAM template that resonate_offline_stack deploys, if not template.yaml; relative to the ini file",
        type="paths",
        default=[],
    )
    parser.addini(
        "resonate_worker",
        "the file to load in the place of the code of the template's WorkerFunction; relative to the ini file",
        type="paths",
        default=[],
    )


@pytest.fixture
def resonate_stack() -> Generator[MemoryStack]:
    """A stack in memory, with nothing in it."""
    from resonate.testing import MemoryStack

    with MemoryStack() as stack:
        yield stack


@pytest.fixture
def resonate_offline_stack(_resonate_deployed: Deployed) -> Generator[OfflineStack]:
    """The deployment of the project's template on moto, with nothing in its table."""
    stack = _resonate_deployed.take()
    yield stack
    _resonate_deployed.set_aside()


@pytest.fixture(params=["memory", "offline"])
def resonate_each_stack(request: pytest.FixtureRequest) -> Stack:
    """First a stack in memory, then the offline stack."""
    return request.getfixturevalue("resonate_stack" if request.param == "memory" else "resonate_offline_stack")


@pytest.fixture(scope="session")
def _resonate_deployed(pytestconfig: pytest.Config) -> Generator[Deployed]:
    deployed = Deployed(_file(pytestconfig, "resonate_template"), _file(pytestconfig, "resonate_worker"))
    yield deployed
    deployed.delete()


class Deployed:
    """The offline stack of a session. Between the tests that use it, AWS and the time are as they were.

    Args:
        template, worker: what is deployed; see `OfflineStack`.
        name: the stack's; no other that is open meanwhile may have it, but for one that takes its place.
    """

    def __init__(self, template: Path | None, worker: Path | None, name: str = "resonate") -> None:
        self._template = template
        self._name = name
        self._code = {"WorkerFunction": worker} if worker is not None else {}
        self._stack: OfflineStack | None = None
        self._aside = ExitStack()

    def take(self) -> OfflineStack:
        """The stack, in use, and with nothing in it."""
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
        """Keep it for the next test."""
        if self._stack is not None:
            self._aside.enter_context(self._stack.set_aside())

    def delete(self) -> None:
        """The session is over."""
        self._aside.close()
        if self._stack is not None:
            self._stack.__exit__()


def _file(config: pytest.Config, option: str) -> Path | None:
    named: list[Path] = config.getini(option)
    if len(named) > 1 or not all(path.is_file() for path in named):
        files = ", ".join(map(str, named))
        raise pytest.UsageError(f"the ini option {option} has to name one file that exists, and names {files}")
    return named[0] if named else None
