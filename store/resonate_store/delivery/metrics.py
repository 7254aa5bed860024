"""Metrics in the log of a Lambda function, where CloudWatch reads them (embedded metric format)."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from resonate_store.machine.effects import Change
from resonate_store.model.records import PromiseState, Record

ENDINGS: Mapping[PromiseState, str] = {
    "resolved": "ExecutionsCompleted",
    "rejected": "ExecutionsFailed",
    "rejected_canceled": "ExecutionsCanceled",
    "rejected_timedout": "ExecutionsTimedOut",
}
"""The metric that counts the executions that end in each state."""


class Metrics:
    """Writer of metrics to the log, where CloudWatch reads them. Without a namespace it writes nothing.

    Args:
        environment: the process's environment variables.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        disabled = environment.get("POWERTOOLS_METRICS_DISABLED", "").lower() in ("true", "1")
        self._namespace = "" if disabled else environment.get("POWERTOOLS_METRICS_NAMESPACE", "")
        self._service = environment.get("POWERTOOLS_SERVICE_NAME", "resonate")

    def write(self, counts: Mapping[str, int], now: int, **fields: Any) -> None:
        """Write counts at the instant `now` (ms), with `fields`, which can be searched but are not counted."""
        if not self._namespace or not counts:
            return
        line = {
            "_aws": {
                "Timestamp": now,
                "CloudWatchMetrics": [
                    {
                        "Namespace": self._namespace,
                        "Dimensions": [["service"]],
                        "Metrics": [{"Name": name, "Unit": unit_of(name)} for name in counts],
                    }
                ],
            },
            "service": self._service,
            **fields,
            **counts,
        }
        sys.stdout.write(f"{msgspec.json.encode(line).decode()}\n")
        sys.stdout.flush()


def unit_of(name: str) -> str:
    """Return the unit of a metric: milliseconds if its name ends with `Lag` or `Duration`, otherwise a count."""
    return "Milliseconds" if name.endswith(("Lag", "Duration")) else "Count"


def ending_of(change: Change) -> dict[str, int]:
    """Return the metrics of the end of an execution, or nothing if the change is not one."""
    before, after = change
    if not isinstance(after, Record) or after.task is None or after.pending or not after.root:
        return {}
    if isinstance(before, Record) and not before.pending:
        return {}
    return {ENDINGS[after.state]: 1, "ExecutionDuration": (after.settled_at or after.timeout_at) - after.created_at}
