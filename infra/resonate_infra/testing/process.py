"""Functions as Lambda runs them, in this process.

A function's module is loaded from its code directory under its own environment, as a cold start does, and called with
an event and a context whose remaining time is counted on the stack's clock. The module has the name that it has when it
is deployed, in every process, so an error of its own type is caught by type whichever process raised it. Several
functions, and the test itself, may have modules of one name: each has its own there while it runs.

A killed function is loaded anew for its next invocation: nothing that it had in memory survives. A function that takes
longer than its timeout is killed, as far as that can be seen here: when it waits, on the stack's clock, past its
deadline.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from resonate.testing.faults import Killed
from resonate_infra.lambda_context import LambdaContext
from resonate_infra.testing.template.deployment import TemplateFunction
from resonate_store.model.clock import Clock

Handler = Callable[[Any, Any], Any]


class LimitedClock:
    """A clock on which a function cannot wait past its deadline: it is killed there.

    Args:
        clock: what tells the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._deadline: int | None = None

    def now(self) -> int:
        return self._clock.now()

    def sleep(self, milliseconds: int) -> None:
        left = milliseconds if self._deadline is None else max(0, self._deadline - self.now())
        self._clock.sleep(min(milliseconds, left))
        if milliseconds > left:
            raise Killed("the function took longer than its timeout")

    @contextmanager
    def limited(self, deadline: int) -> Generator[None]:
        """For as long as the block runs, nobody can wait past `deadline` (ms)."""
        before, self._deadline = self._deadline, deadline
        try:
            yield
        finally:
            self._deadline = before


class Processes:
    """The running copies of a stack's functions.

    Args:
        clock: the time that contexts count, and that ends invocations.
        environment: variables that every function has besides its own.
        code: files to load instead of the code of the functions with these logical ids.
    """

    def __init__(
        self, clock: LimitedClock, environment: Mapping[str, str], code: Mapping[str, Path] | None = None
    ) -> None:
        self._clock = clock
        self._environment = environment
        self._code = dict(code or {})
        self._warm: dict[str, tuple[ModuleType, Handler]] = {}
        self._numbers = itertools.count(1)

    def invoke(self, function: TemplateFunction, event: Any) -> Any:
        """Call a function and return its response; whatever it raises comes out."""
        now = self._clock.now()
        context = LambdaContext(
            function_name=function.name,
            invoked_function_arn=function.arn,
            memory_limit_in_mb=function.memory_mb,
            aws_request_id=f"offline-{next(self._numbers)}",
            deadline=now + function.timeout_seconds * 1000,
            clock=self._clock,
        )
        with self._environment_of(function), self._clock.limited(context.deadline):
            try:
                module, handler = self._loaded(function)
                with _known(module):
                    return handler(event, context)
            except Killed:
                self.forget(function)
                raise

    def forget(self, function: TemplateFunction) -> None:
        """Let the next invocation be a cold start."""
        self._warm.pop(function.logical_id, None)

    def forget_all(self) -> None:
        """Let every function's next invocation be a cold start."""
        self._warm.clear()

    def replace_code(self, function: TemplateFunction, code: Path) -> None:
        """Load a function from this file from its next invocation on.

        Raises:
            FileNotFoundError: it is not there.
        """
        self._code[function.logical_id] = code
        self.check(function)
        self.forget(function)

    @contextmanager
    def _environment_of(self, function: TemplateFunction) -> Generator[None]:
        variables = {
            **self._environment,
            **function.environment,
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        }
        with patch.dict(os.environ, variables):
            yield

    def _loaded(self, function: TemplateFunction) -> tuple[ModuleType, Handler]:
        if function.logical_id not in self._warm:
            self._warm[function.logical_id] = self._load(function)
        return self._warm[function.logical_id]

    def check(self, function: TemplateFunction) -> None:
        """Look whether the code of a function is there.

        Raises:
            FileNotFoundError: it is not.
        """
        path, _ = self._code_of(function)
        if not path.exists():
            raise FileNotFoundError(f"{function.logical_id} has no code: there is no {path}")

    def _code_of(self, function: TemplateFunction) -> tuple[Path, str]:
        """The file of a function, and what its handler is called in there."""
        module_name, _, attribute = function.handler.rpartition(".")
        return self._code.get(function.logical_id, function.code_directory / f"{module_name}.py"), attribute

    def _name_of(self, function: TemplateFunction) -> str:
        """Return the module name of a function's code: of a file in place of it, the one that imports it."""
        path = self._code.get(function.logical_id)
        if path is None:
            return function.handler.rpartition(".")[0]
        names = [path.stem]
        for directory in path.resolve().parents:
            if not (directory / "__init__.py").exists():
                break
            names.append(directory.name)
        return ".".join(reversed(names))

    def _load(self, function: TemplateFunction) -> tuple[ModuleType, Handler]:
        self.check(function)
        path, attribute = self._code_of(function)
        name = self._name_of(function)
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"the code of {function.logical_id} is no module of Python: {path}")
        module = importlib.util.module_from_spec(spec)
        with _known(module), patch.object(sys, "path", [str(path.parent), *sys.path]):
            spec.loader.exec_module(module)
        return module, getattr(module, attribute)


@contextmanager
def _known(module: ModuleType) -> Generator[None]:
    """For as long as the block runs, the module is the one of its name: annotations and errors are looked up there."""
    name = module.__name__
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        yield
    finally:
        if before is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = before
