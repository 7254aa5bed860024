"""Programs that look at a table read it with the models (docs/operate.md)."""

from __future__ import annotations

from resonate_store.dynamo.models import PromiseModel, ScheduleModel
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import TaskRecord, Value
from resonate_store.model.requests import PromiseCreate
from resonate_store.model.schedule_requests import ScheduleCreate
from tests.support.dynamo import REGION, Table

T0 = 1_796_000_000_000


def test_models_read_what_the_store_has_written(table: Table) -> None:
    class Promise(PromiseModel):
        class Meta:
            table_name = table.name
            region = REGION

    class Schedule(ScheduleModel):
        class Meta:
            table_name = table.name
            region = REGION

    store = table.store(ManualClock(T0))
    tags = {"resonate:target": "poll://any@worker", "self": "a tag that PynamoDB's own map cannot have"}
    assert store.apply(PromiseCreate("order-17", T0 + 60_000, Value({"a": "b"}, "data"), tags)).ok
    assert store.apply(ScheduleCreate("nightly", "0 0 * * *", "nightly.{{.timestamp}}", 60_000, promise_tags=tags)).ok

    (promise,) = Promise.query("p#order-17")
    assert (promise.id, promise.state, promise.timeout_at) == ("order-17", "pending", T0 + 60_000)
    assert (promise.param, promise.tags) == (Value({"a": "b"}, "data"), tags)
    assert isinstance(promise.task, TaskRecord)
    assert promise.settled_at is None
    assert [each.pk for each in Promise.wake.query(promise.wake_shard)] == ["p#order-17"]
    (schedule,) = Schedule.query("s#nightly")
    assert (schedule.cron, schedule.paused) == ("0 0 * * *", False)
