"""Images of records, before and after writes."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from resonate_store.machine.effects import ARMING_HORIZON_MS
from resonate_store.model.records import Record, ScheduleRecord, TaskRecord, Value
from resonate_store.model.tags import DELAY, ORIGIN, TARGET, TIMER

NOW = 1_000_000
HOUR = 3_600_000
WORKERS = "poll://any@workers"

PLAIN = Record("root.p", "pending", NOW + HOUR, NOW, tags={ORIGIN: "root"}, written_at=NOW, rev=1)
TIMER_RECORD = replace(PLAIN, tags={ORIGIN: "root", TIMER: "true"})
NEAR = replace(TIMER_RECORD, timeout_at=NOW + ARMING_HORIZON_MS)
DISTANT = replace(TIMER_RECORD, timeout_at=NOW + ARMING_HORIZON_MS + 1)
DELAYED = replace(
    PLAIN,
    timeout_at=NOW + 2 * HOUR,
    tags={ORIGIN: "root", TARGET: "poll://any@workers", DELAY: str(NOW + HOUR)},
    task=TaskRecord("pending", 0, retry_at=NOW + HOUR),
)
OFFERED = TaskRecord("pending", 3, retry_at=NOW + 30_000, offers=1)
HELD = TaskRecord("acquired", 3, pid="p1", ttl=1000, acquired_at=NOW, expires_at=NOW + 1000)
TASKED = replace(PLAIN, tags={ORIGIN: "root", TARGET: WORKERS}, task=OFFERED)
WAITED = replace(PLAIN, callbacks={"w": 2, "v": 0}, listeners={"poll://uni@g/1": NOW, "https://x/y": NOW})
SCHEDULE = ScheduleRecord("s", "* * * * *", "{{.id}}", HOUR, NOW, NOW + 60_000, wake_at=NOW + 60_000, rev=1)


def settled(record: Record, **more: Any) -> Record:
    task = None if record.task is None else TaskRecord("fulfilled", record.task.version)
    return replace(record, state="resolved", settled_at=NOW + 5, value=Value(data="v"), task=task, **more)
