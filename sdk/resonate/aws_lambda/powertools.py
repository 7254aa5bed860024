"""Interceptor for programs that use AWS Lambda Powertools: keys of the Logger, and subsegments of the Tracer.

    from aws_lambda_powertools import Logger, Tracer

    resonate = Resonate(interceptors=[PowertoolsInterceptor(logger=Logger(), tracer=Tracer())])

It imports nothing of Powertools: it uses the objects that the program gives it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from resonate.interceptors import InboundCall, Interceptor, OutboundCall

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger, Tracer

CORRELATION = "correlation-id"
"""The header of the correlation id."""


class PowertoolsInterceptor(Interceptor):
    """Interceptor that describes the running function to Powertools.

    Each line that the Logger writes in a function has the keys `execution_id`, `promise_id`, `function` and `attempt`.
    The correlation id of the Logger travels as the header `correlation-id`, and is the key `correlation_id` in steps,
    workflows and remote calls. Functions that run at the same time have keys of their own.

    Each step that is not async is a subsegment of the Tracer, named `## {function}`, with the annotations
    `execution_id` and `attempt`. Async steps share a thread, and the Tracer has one current subsegment for each thread.

    Args:
        logger: a Logger of Powertools.
        tracer: a Tracer of Powertools. It needs the package `aws-xray-sdk`.
        header_keys: further headers that become keys of the Logger: the name of the key by the name of the header.
    """

    def __init__(
        self,
        *,
        logger: Logger | None = None,
        tracer: Tracer | None = None,
        header_keys: Mapping[str, str] | None = None,
    ) -> None:
        self._logger = logger
        self._tracer = tracer
        self._header_keys = {CORRELATION: "correlation_id", **(header_keys or {})}

    def outbound(self, call: OutboundCall) -> None:
        correlation_id = None if self._logger is None else self._logger.get_correlation_id()
        if correlation_id:
            call.headers.setdefault(CORRELATION, correlation_id)

    @contextmanager
    def inbound(self, call: InboundCall) -> Generator[None, None, None]:
        with ExitStack() as exits:
            if self._logger is not None:
                keys: dict[str, Any] = {
                    "execution_id": call.execution_id,
                    "promise_id": call.id,
                    "function": call.function,
                    "attempt": call.attempt,
                }
                for header, key in self._header_keys.items():
                    if header in call.headers:
                        keys[key] = call.headers[header]
                # They are contextvars, and those of this function end with it.
                self._logger.thread_safe_append_keys(**keys)
            if self._tracer is not None and call.kind == "step":
                provider: Any = self._tracer.provider
                subsegment = exits.enter_context(provider.in_subsegment(name=f"## {call.function}"))
                subsegment.put_annotation("execution_id", call.execution_id)
                subsegment.put_annotation("attempt", call.attempt)
            yield
