"""What a deployed stack consists of, for whoever does offline what AWS does with it.

moto keeps tables, queues and schedules but runs no function, and feeds none. So these say all that it takes: where the
code of a function lies and what its environment is, what it is fed from, and which request or schedule leads to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from resonate_infra.testing.filters import Pattern


@dataclass(frozen=True, slots=True)
class Queue:
    url: str
    arn: str
    name: str


@dataclass(frozen=True, slots=True)
class TemplateFunction:
    """A Lambda function as its runtime would find it."""

    logical_id: str
    name: str
    arn: str
    handler: str
    code_directory: Path
    environment: Mapping[str, str]
    timeout_seconds: int
    memory_mb: int


@dataclass(frozen=True, slots=True)
class EventSource:
    """What feeds a function. How Lambda polls and retries is for whoever pumps the events."""

    function: str
    kind: Literal["stream", "queue"]
    arn: str
    batch_size: int
    filters: tuple[Pattern, ...]
    report_batch_item_failures: bool


@dataclass(frozen=True, slots=True)
class TemplateSchedule:
    logical_id: str
    name: str
    group: str
    expression: str
    target_arn: str
    input: str


@dataclass(frozen=True, slots=True)
class Route:
    """A method of a path of the API, the function that answers it, and whether callers have to sign with IAM."""

    method: str
    path: str
    function: str
    signed: bool


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployed stack. Queues and functions are keyed by their logical ids in the template.

    `creates_table` and `creates_bucket` say whether the stack created them or uses existing ones.
    """

    stack_name: str
    region: str
    account_id: str
    table_name: str
    stream_arn: str
    schedule_group: str
    bucket: str
    queues: Mapping[str, Queue]
    functions: dict[str, TemplateFunction]
    event_sources: tuple[EventSource, ...]
    schedules: tuple[TemplateSchedule, ...]
    routes: tuple[Route, ...]
    outputs: Mapping[str, str]
    creates_table: bool = True
    creates_bucket: bool = True
