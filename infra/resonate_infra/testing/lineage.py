"""Recursion detection of Lambda: it counts how often each function was invoked in one chain of requests.

Lambda passes the counts on in the trace header, and so do the clients of AWS and the messages of SQS. Streams and
schedules begin a new chain. Lambda drops the 17th invocation of a function in a chain, without an error to the sender,
unless the function has `RecursiveLoop: Allow`.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

MAX_INVOCATIONS = 16
"""How often one chain may invoke a function that does not allow recursive loops."""
TRACE_VARIABLE = "_X_AMZN_TRACE_ID"
TRACE_HEADER = "x-amzn-trace-id"
_TRACE = "Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=0"


def counts_of(trace: str) -> Counter[str]:
    """Return how often the chain with this trace header has invoked each function."""
    fields = dict(field.split("=", 1) for field in trace.split(";") if "=" in field)
    pairs = (entry.rpartition(":") for entry in fields.get("Lineage", "").split(",") if entry)
    return Counter({function: int(count) for function, _, count in pairs})


class RecursionDetected(RuntimeError):
    """An invocation is dropped, because a chain of requests has invoked the function too often."""


def is_too_long(trace: str, function: str) -> bool:
    """Return whether the chain with this trace header may not invoke a function again."""
    return counts_of(trace)[function] >= MAX_INVOCATIONS


def continued(trace: str, function: str) -> str:
    """Return the trace header of the next invocation of a function."""
    counts = counts_of(trace)
    counts[function] += 1
    lineage = ",".join(f"{name}:{count}" for name, count in sorted(counts.items()))
    return f"{_TRACE};Lineage={lineage}"


def longest(traces: list[str]) -> str:
    """Return the trace header of a batch of messages: the one with the most invocations."""
    return max(traces, key=lambda trace: sum(counts_of(trace).values()), default="")


def with_trace(body: bytes | str, trace: str) -> bytes:
    """Return a request of SQS to send a message, with the trace header as an attribute of the message."""
    arguments: dict[str, Any] = json.loads(body)
    attribute = {"AWSTraceHeader": {"DataType": "String", "StringValue": trace}}
    return json.dumps({**arguments, "MessageSystemAttributes": attribute}).encode()
