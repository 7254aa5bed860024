"""Lambda functions in the server's process, to try serverless code without AWS.

`--lambda worker=functions.worker.app:handler` serves the group `worker` and the address `lambda://worker`. The server
calls `handler` in a thread with each message and a Lambda context. It imports the module after it begins to answer
requests, and sets `RESONATE_URL` to its own address. So the `Resonate` of the handler works on the same promises.

An invocation has a timeout, as with Lambda's `Timeout`. Unlike Lambda, the server does not kill it at the timeout. The
context then reports that no time is left, and the lease of the task ends, so later requests are refused.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from resonate.threads import Pool
from resonate_infra.inspection.descriptions import functions_in
from resonate_infra.lambda_context import LambdaContext
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


class Lambdas:
    """Functions that run in a server's process.

    Args:
        functions: maps the name of each function to its handler's place.
        clock: the source of time.
        timeout_s: how long an invocation has, in seconds.
    """

    def __init__(self, functions: Mapping[str, Mapped], clock: Clock, timeout_s: float) -> None:
        self._functions = functions
        self._clock = clock
        self._timeout_s = timeout_s
        self._handlers: dict[str, Handler] = {}
        self._loaded = threading.Event()
        self._background = Pool(MAX_INVOCATIONS, "resonate-lambda", logger)

    def __contains__(self, name: object) -> bool:
        return name in self._functions

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
            if os.getcwd() not in sys.path:
                sys.path.insert(0, os.getcwd())
        try:
            for function in self._functions.values():
                self._handlers[function.name] = _imported(function)
        finally:
            self._loaded.set()

    def invoke(self, name: str, message: dict[str, Any]) -> None:
        """Invoke a function with a message in a thread. Do not wait for it."""
        key = (name, message["data"]["task"]["id"] if message["kind"] == "execute" else random_id())
        self._background.submit_latest(key, lambda: self._run(name, message))

    def describe(self, name: str) -> list[dict[str, Any]] | None:
        """Return the descriptions of the functions of a handler. Return None if it does not answer that question."""
        handler = self._handlers.get(name)
        if handler is None:
            return None
        try:
            answer = handler({"kind": "describe"}, self._context(name))
            return functions_in(answer)
        except Exception as error:
            logger.debug("function %s does not describe itself: %s", name, _shown(error))
            return None

    def close(self, seconds: float) -> bool:
        """Invoke no further functions. Return whether all running invocations have ended within `seconds`."""
        return self._background.close(seconds)

    def _run(self, name: str, message: dict[str, Any]) -> None:
        self._loaded.wait()
        handler = self._handlers.get(name)
        if handler is None:
            return  # The import has failed, and the server is about to end.
        try:
            answer = handler(message, self._context(name))
        except BaseException as error:  # sys.exit fails the invocation like any error; its lease ends.
            logger.error("function %s failed: %s", name, _shown(error))
            logger.debug("traceback of the failure", exc_info=True)
        else:
            logger.debug("function %s answered %s", name, answer)

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


def _imported(function: Mapped) -> Handler:
    where = f"--lambda {function.name}={function.module}:{function.attribute}"
    try:
        module = importlib.import_module(function.module)
    except BaseException as error:  # Also sys.exit, which would end only this thread.
        raise LambdaError(f"{where}: importing {function.module} failed: {_shown(error)}") from error
    handler = getattr(module, function.attribute, None)
    if handler is None:
        raise LambdaError(f"{where}: {function.module} has no {function.attribute}")
    if not callable(handler):
        raise LambdaError(f"{where}: it is a {type(handler).__name__}, not a handler; write resonate.handler()")
    return handler


def _shown(error: BaseException) -> str:
    name, message = type(error).__name__, str(error)
    return f"{name}: {message}" if message else name
