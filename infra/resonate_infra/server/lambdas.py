"""Lambda functions in the server's process, to try serverless code without AWS.

`--lambda worker=functions.worker.app:handler` serves the group `worker` and the address `lambda://worker`. The server
calls `handler` in a thread with each message and a Lambda context. It imports the module after it begins to answer
requests, and sets `RESONATE_URL` to its own address. So the `Resonate` of the handler works on the same promises.

An invocation has a timeout, as with Lambda's `Timeout`. Unlike Lambda, the server does not kill it at the timeout. The
context then reports that no time is left, and the lease of the task ends, so later requests are refused.

With `--reload` the modules are imported again when their sources change (docs/decisions/0099).
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from traceback import extract_tb
from typing import Any

from msgspec import Struct

from resonate.threads import Pool
from resonate_infra.inspection.descriptions import functions_in
from resonate_infra.lambda_context import LambdaContext
from resonate_infra.server.reloading.modules import anew, is_installed, roots_of
from resonate_store.model.addresses import problem_with
from resonate_store.model.clock import Clock
from resonate_store.model.ids import random_id

MAX_INVOCATIONS = 32
"""Maximum number of invocations at the same time."""

Handler = Callable[[Any, Any], Any]
logger = logging.getLogger("resonate.server")


class LambdaError(Exception):
    """A handler cannot be imported. The message names it and the reason."""


class Mapped(Struct, frozen=True):
    """Function `name`, whose handler is `attribute` of `module`."""

    name: str
    module: str
    attribute: str


def mapped(text: str) -> Mapped:
    """Return the function that `name=module:attribute` describes.

    Raises:
        LambdaError: the text has another form.
    """
    name, _, handler = text.partition("=")
    module, _, attribute = handler.partition(":")
    if not (name and module and attribute):
        raise LambdaError(f"{text!r} maps no group to a handler: write worker=package.module:handler")
    if problem_with(f"lambda://{name}"):
        raise LambdaError(f"{name!r} in {text!r} is no name for a Lambda function: use letters, digits, - and _")
    return Mapped(name, module, attribute)


class _Loaded:
    """Handler that was imported, and how many of its invocations are under way."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.running = 0
        self.replaced = False


class Lambdas:
    """Functions that run in a server's process.

    Args:
        functions: maps the name of each function to its handler's place.
        clock: the source of time.
        timeout_s: how long an invocation has, in seconds.
        reloads: whether `reload` will be called. A failed import then keeps the invocations waiting for it.
    """

    def __init__(
        self, functions: Mapping[str, Mapped], clock: Clock, timeout_s: float, *, reloads: bool = False
    ) -> None:
        self._functions = functions
        self._clock = clock
        self._timeout_s = timeout_s
        self._reloads = reloads
        self._lock = threading.Lock()
        self._loaded: dict[str, _Loaded] = {}
        self._begun = threading.Event()
        """Set when `load` has tried to import. Only then is anything imported anew."""
        self._decided = threading.Event()
        """Set when invocations need not wait: there are handlers, or there will be none."""
        self._background = Pool(MAX_INVOCATIONS, "resonate-lambda", logger)

    def __contains__(self, name: object) -> bool:
        return name in self._functions

    @property
    def ready(self) -> bool:
        """Whether the handlers have been imported."""
        return bool(self._loaded)

    def load(self, url: str) -> None:
        """Import the handlers. Invocations that began earlier wait for it.

        Args:
            url: the address of the server, for the environment of the handlers.

        Raises:
            LambdaError: a handler cannot be imported.
        """
        if self._functions:
            os.environ["RESONATE_URL"] = url
            os.environ.pop("RESONATE_TABLE", None)
            _admit_working_directory()
        if self._reloads:
            # Bytecode is compared by the second and the size of its source. A quick change can be missed.
            sys.dont_write_bytecode = True
        try:
            self._import()
        finally:
            self._begun.set()
            if not self._reloads:
                self._decided.set()

    def roots(self) -> tuple[Path, ...]:
        """Return the directories with the sources of the handlers."""
        _admit_working_directory()
        return roots_of(function.module for function in self._functions.values())

    def reload(self) -> list[str]:
        """Import the handlers and their modules anew, for later invocations. Return their names.

        If an import fails, the former handlers stay.

        Raises:
            LambdaError: a handler cannot be imported.
        """
        self._begun.wait()
        with anew(self.roots()):
            self._import()
        return sorted(self._functions)

    def _import(self) -> None:
        loaded = {function.name: _Loaded(_imported(function)) for function in self._functions.values()}
        with self._lock:
            former, self._loaded = self._loaded, loaded
            for each in former.values():
                each.replaced = True
            idle = [each for each in former.values() if not each.running]
        self._decided.set()
        for each in idle:
            _close(each.handler)

    def invoke(self, name: str, message: dict[str, Any]) -> None:
        """Invoke a function with a message in a thread. Do not wait for it."""
        key = (name, message["data"]["task"]["id"] if message["kind"] == "execute" else random_id())
        self._background.submit_latest(key, lambda: self._run(name, message))

    def describe(self, name: str) -> list[dict[str, Any]] | None:
        """Return the descriptions of the functions of a handler. Return None if it does not answer that question."""
        loaded = self._loaded.get(name)
        if loaded is None:
            return None
        try:
            answer = loaded.handler({"kind": "describe"}, self._context(name))
            return functions_in(answer)
        except Exception as error:
            logger.debug("function %s does not describe itself: %s", name, _shown(error))
            return None

    def close(self, seconds: float) -> bool:
        """Invoke no further functions. Return whether all running invocations have ended within `seconds`."""
        self._decided.set()
        return self._background.close(seconds)

    def _run(self, name: str, message: dict[str, Any]) -> None:
        self._decided.wait()
        with self._lock:
            loaded = self._loaded.get(name)
            if loaded is None:
                return  # The import has failed, and the server is about to end.
            loaded.running += 1
        try:
            answer = loaded.handler(message, self._context(name))
        except BaseException as error:  # sys.exit fails the invocation like any error; its lease ends.
            logger.error("function %s failed: %s", name, _shown(error))
            logger.debug("traceback of the failure", exc_info=True)
        else:
            logger.debug("function %s answered %s", name, answer)
        finally:
            with self._lock:
                loaded.running -= 1
                ended = loaded.replaced and not loaded.running
            if ended:
                _close(loaded.handler)

    def _context(self, name: str) -> LambdaContext:
        """Return the context of an invocation that begins now."""
        request_id = random_id()
        return LambdaContext(
            function_name=name,
            invoked_function_arn=f"arn:aws:lambda:us-east-1:000000000000:function:{name}",
            memory_limit_in_mb="1024",
            aws_request_id=request_id,
            deadline=self._clock.now() + round(self._timeout_s * 1000),
            clock=self._clock,
            log_group_name=f"/aws/lambda/{name}",
            log_stream_name=f"$LATEST/{request_id}",
        )


def _admit_working_directory() -> None:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def _close(handler: Handler) -> None:
    """End the threads of a handler of ours that was replaced. A handler around it keeps them, idle."""
    from resonate.aws_lambda.handler import LambdaHandler  # here, because the server does not need it otherwise

    if isinstance(handler, LambdaHandler):
        handler.close()


def _imported(function: Mapped) -> Handler:
    where = f"--lambda {function.name}={function.module}:{function.attribute}"
    try:
        module = importlib.import_module(function.module)
    except BaseException as error:  # Also sys.exit, which would end only this thread.
        raise LambdaError(f"{where}: importing {function.module} failed: {_shown(error)}{_place(error)}") from error
    handler = getattr(module, function.attribute, None)
    if handler is None:
        raise LambdaError(f"{where}: {function.module} has no {function.attribute}")
    if not callable(handler):
        raise LambdaError(f"{where}: it is a {type(handler).__name__}, not a handler; write resonate.handler()")
    return handler


def _place(error: BaseException) -> str:
    """Return where a program of the working directory failed. An error of its syntax says that itself."""
    here = Path.cwd()
    _, *frames = [(Path(frame.filename), frame.lineno) for frame in extract_tb(error.__traceback__)]
    places = [(path, line) for path, line in frames if path.is_relative_to(here) and not is_installed(path)]
    if not places or isinstance(error, SyntaxError):
        return ""
    path, line = places[-1]
    return f" ({path.relative_to(here)}, line {line})"


def _shown(error: BaseException) -> str:
    name, message = type(error).__name__, str(error)
    return f"{name}: {message}" if message else name
