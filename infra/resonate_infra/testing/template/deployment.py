"""Resources of a deployed stack, as the offline stack needs them.

moto stores tables, queues and schedules, but does not run functions or deliver events. So these classes describe the
functions with their code and environment, the event sources, the routes and the schedules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    """Lambda function with its code and configuration. `version` is a published version, or `$LATEST`."""

    logical_id: str
    name: str
    arn: str
    handler: str
    code_directory: Path
    environment: Mapping[str, str]
    timeout_seconds: int
    memory_mb: int
    allows_recursion: bool
    version: str = "$LATEST"

    @property
    def key(self) -> str:
        """The logical id, and the version if it is a published one."""
        return self.logical_id if self.version == "$LATEST" else f"{self.logical_id}:{self.version}"


@dataclass(frozen=True, slots=True)
class EventSource:
    """Stream or queue whose events a function receives. The pumps define polling and retries."""

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
    """Method and path of the API, the function that answers, and whether callers must sign with IAM."""

    method: str
    path: str
    function: str
    signed: bool


@dataclass(frozen=True, slots=True)
class Deployment:
    """Deployed stack. Queues and functions are keyed by their logical ids in the template.

    `creates_table` and `creates_bucket` say whether the stack has created them or uses existing ones. `versioned` are
    the functions that have versions, and `aliases` the names of their aliases, by logical id.
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
    versioned: tuple[str, ...] = ()
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
