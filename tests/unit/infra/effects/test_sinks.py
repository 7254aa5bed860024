from resonate_store.model.records import Record
from resonate_store.model.requests import PromiseSettle, TaskResume
from tests.support.aws_doubles import SETTINGS
from tests.support.infra_world import InfraWorld


def stamped(surroundings: InfraWorld, id: str) -> bool:
    """Whether the last write of the record asks the stream's consumer for its effects."""
    return "effects" in surroundings.images(id)


def test_what_the_streams_consumer_writes_is_announced_on_the_stream(surroundings: InfraWorld) -> None:
    surroundings.create("awaited")
    surroundings.suspended("awaiter", "awaited")
    surroundings.outlets.apply(TaskResume("awaiter", 1, "awaited"))

    assert stamped(surroundings, "awaiter")
    assert surroundings.functions.invoked == [], "another call of the consumer offers the task"


def test_what_the_sweep_writes_is_carried_out_at_once(surroundings: InfraWorld) -> None:
    surroundings.create("awaited")
    surroundings.suspended("awaiter", "awaited")
    surroundings.sweeping.apply(TaskResume("awaiter", 1, "awaited"))

    assert not stamped(surroundings, "awaiter")
    ((name, kind, message),) = surroundings.functions.invoked
    assert (name, kind, message["data"]["task"]) == ("worker", "Event", {"id": "awaiter", "version": 1})


def test_a_settlement_by_the_sweep_reaches_everybody_down_the_line(surroundings: InfraWorld) -> None:
    """Settling resumes the awaiter, which is offered, and the settlement is cleared: all in one call."""
    surroundings.create("awaited")
    surroundings.suspended("awaiter", "awaited")
    surroundings.sweeping.apply(PromiseSettle("awaited", "resolved"))

    task = surroundings.record("awaiter").task
    assert task is not None
    assert (task.state, task.resumes) == ("pending", ("awaited",))
    assert len(surroundings.functions.invoked) == 1
    assert surroundings.record("awaited").delivered
    assert surroundings.markers() == ["expiry#awaited"]


def test_timers_and_schedules_are_armed_and_disarmed(surroundings: InfraWorld) -> None:
    outlets, now = surroundings.outlets, surroundings.clock.now()
    outlets.arm("near", now + 5000)
    outlets.arm_schedule("far", "0 0 * * *", "Europe/Berlin")

    assert surroundings.sqs.sent == [(SETTINGS.timer_queue_url, {"kind": "timer", "id": "near", "at": now + 5000}, 5)]
    outlets.arm("distant", now + 3_600_000)
    assert len(surroundings.scheduler.schedules) == 2
    outlets.disarm_schedule("far")
    outlets.disarm("distant")
    outlets.disarm("near")
    assert surroundings.scheduler.schedules == {}


def test_a_settled_root_is_marked_for_as_long_as_it_is_kept(surroundings: InfraWorld) -> None:
    settled_at = surroundings.clock.now()
    surroundings.outlets.retain("w1", settled_at - 500, settled_at)

    (item,) = surroundings.table.items()
    assert item["sk"] == {"S": "expiry#w1"}
    assert item["expire_at"] == {"N": str(-(-(settled_at + SETTINGS.retention_s * 1000) // 1000))}
    assert item["created_at"] == {"N": str(settled_at - 500)}


def test_a_record_is_what_its_item_says(surroundings: InfraWorld) -> None:
    surroundings.create("p1", target="https://worker.example.com/")

    assert isinstance(surroundings.record("p1"), Record)
    assert stamped(surroundings, "p1")
