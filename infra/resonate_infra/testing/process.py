"""Lambda functions in this process.

As in a cold start, the module of a function is loaded from its code directory, with the function's environment. It is
called with an event, and with a context that counts the remaining time on the stack's clock.

The module has the same name as in a deployment. So an error type of the module has the same name in every process, and
can be caught by its type. Several functions and the test may have modules of the same name. While a function runs,
`sys.modules` has the function's own module.

A killed function loses its memory: its next invocation loads the module again. A function is killed when it waits, on
the stack's clock, past its timeout. Other ways to exceed the timeout are not detected.
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
from typing import Any, NamedTuple
from unittest.mock import patch

from resonate.testing.faults import Killed
from resonate_infra.lambda_context import LambdaContext
from resonate_infra.testing.lineage import TRACE_VARIABLE
from resonate_infra.testing.template.deployment import TemplateFunction
from resonate_store.model.clock import Clock

Handler = Callable[[Any, Any], Any]


class LimitedClock:
    """Clock that kills a function if it waits past its deadline.

    Args:
        clock: the source of time.
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
        """While the block runs, raise `Killed` in a wait past the instant `deadline` (ms)."""
        before, self._deadline = self._deadline, deadline
        try:
            yield
        finally:
            self._deadline = before


class Event(NamedTuple):
    """Invocation of a function that ended at the instant `at` (ms). `function` is its logical id, or a mock's name."""

    at: int
    function: str
    event: Any
    response: Any
    error: BaseException | None


class Processes:
    """Loaded functions of a stack.

    Args:
        clock: the time for contexts and timeouts.
        environment: variables of every function, in addition to its own.
        code: maps logical ids of functions to files that are loaded instead of their code.
    """

    def __init__(
        self, clock: LimitedClock, environment: Mapping[str, str], code: Mapping[str, Path] | None = None
    ) -> None:
        self._clock = clock
        self._environment = environment
        self._code = dict(code or {})
        self._warm: dict[str, tuple[ModuleType, Handler]] = {}
        self._numbers = itertools.count(1)

    def invoke(self, function: TemplateFunction, event: Any, trace: str = "") -> Any:
        """Call a function and return its response, or raise its error. A killed function is unloaded.

        Args:
            function: the function.
            event: its event.
            trace: the trace header of the invocation.
        """
        now = self._clock.now()
        context = LambdaContext(
            function_name=function.name,
            invoked_function_arn=function.arn,
            function_version=function.version,
            memory_limit_in_mb=function.memory_mb,
            aws_request_id=f"offline-{next(self._numbers)}",
            deadline=now + function.timeout_seconds * 1000,
            clock=self._clock,
        )
        variables = {TRACE_VARIABLE: trace} if trace else {}
        with self._environment_of(function, variables), self._clock.limited(context.deadline):
            try:
                module, handler = self._loaded(function)
                with _known(module):
                    return handler(event, context)
            except Killed:
                self.forget(function)
                raise

    def forget(self, function: TemplateFunction) -> None:
        """Unload a function, so that its next invocation is a cold start."""
        self._warm.pop(function.key, None)

    def forget_all(self) -> None:
        """Unload every function, so that its next invocation is a cold start."""
        self._warm.clear()

    def replace_code(self, function: TemplateFunction, code: Path) -> None:
        """Load a function from the file `code` at its next invocation.

        Raises:
            FileNotFoundError: the file does not exist.
        """
        self._code[function.logical_id] = code
        self.check(function)
        self.forget(function)

    def keep_code(self, function: TemplateFunction) -> None:
        """Keep the present code of a function for this published version of it."""
        code = self._code.get(function.logical_id)
        if code is not None:
            self._code[function.key] = code

    @contextmanager
    def _environment_of(self, function: TemplateFunction, more: Mapping[str, str]) -> Generator[None]:
        variables = {
            **self._environment,
            **function.environment,
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": function.version,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
            **more,
        }
        with _variables(variables):
            yield

    def _loaded(self, function: TemplateFunction) -> tuple[ModuleType, Handler]:
        if function.key not in self._warm:
            self._warm[function.key] = self._load(function)
        return self._warm[function.key]

    def file_of(self, function: TemplateFunction) -> Path:
        """Return the file that a function is loaded from."""
        return self._code_of(function)[0]

    def check(self, function: TemplateFunction) -> None:
        """Check that the code of a function exists.

        Raises:
            FileNotFoundError: the file does not exist.
        """
        path, _ = self._code_of(function)
        if not path.exists():
            raise FileNotFoundError(f"{function.logical_id} has no code: there is no {path}")

    def _code_of(self, function: TemplateFunction) -> tuple[Path, str]:
        """Return the file of a function, and the name of the handler in it."""
        module_name, _, attribute = function.handler.rpartition(".")
        return self._code.get(function.key, function.code_directory / f"{module_name}.py"), attribute

    def _name_of(self, function: TemplateFunction) -> str:
        """Return the module name of a function's code.

        If a file replaces the code, it is the dotted name that imports this file, including its packages.
        """
        path = self._code.get(function.key)
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
def _variables(variables: Mapping[str, str]) -> Generator[None]:
    """Set variables of the environment while the block runs, then restore the whole environment.

    `patch.dict` writes every variable of the environment twice, also the unchanged ones.
    """
    before = dict(os.environ)
    changed = {name: value for name, value in variables.items() if before.get(name) != value}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        now = dict(os.environ)
        os.environ.update({name: value for name, value in before.items() if now.get(name) != value})


@contextmanager
def _known(module: ModuleType) -> Generator[None]:
    """Put the module into `sys.modules` while the block runs, because annotations and errors are looked up there."""
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
