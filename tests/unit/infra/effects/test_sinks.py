from resonate_store.model.requests import PromiseSettle, TaskResume
from tests.support.aws_doubles import SETTINGS
from tests.support.infra_world import InfraWorld
from tests.support.present import present


def stamped(world: InfraWorld, id: str) -> bool:
    """Return whether the last write of the record asks the dispatcher for its effects."""
    return "effects" in world.images(id)


def test_dispatcher_write_is_announced_on_the_stream(world: InfraWorld) -> None:
    world.create("awaited")
    world.suspended("awaiter", "awaited")
    world.outlets.apply(TaskResume("awaiter", 1, "awaited"))

    assert stamped(world, "awaiter")
    assert world.functions.invoked == [], "the next invocation of the dispatcher offers the task"


def test_sweep_write_has_its_effects_at_once(world: InfraWorld) -> None:
    world.create("awaited")
    world.suspended("awaiter", "awaited")
    world.sweeping.apply(TaskResume("awaiter", 1, "awaited"))

    assert not stamped(world, "awaiter")
    ((name, kind, message),) = world.functions.invoked
    assert (name, kind, message["data"]["task"]) == ("worker", "Event", {"id": "awaiter", "version": 1})


def test_sweep_settlement_resumes_and_offers_the_awaiter(world: InfraWorld) -> None:
    world.create("awaited")
    world.suspended("awaiter", "awaited")
    world.sweeping.apply(PromiseSettle("awaited", "resolved"))

    task = present(world.record("awaiter").task)
    assert (task.state, task.resumes) == ("pending", ("awaited",))
    assert len(world.functions.invoked) == 1
    assert world.record("awaited").delivered
    assert world.markers() == ["expiry#awaited"]


def test_sink_arms_and_disarms_timers_and_schedules(world: InfraWorld) -> None:
    outlets, now = world.outlets, world.clock.now()
    outlets.arm("near", now + 5000)
    outlets.arm_schedule("far", "0 0 * * *", "Europe/Berlin")

    assert world.sqs.sent == [(SETTINGS.timer_queue_url, {"kind": "timer", "id": "near", "at": now + 5000}, 5)]
    outlets.arm("distant", now + 3_600_000)
    assert len(world.scheduler.schedules) == 2
    outlets.disarm_schedule("far")
    outlets.disarm("distant")
    outlets.disarm("near")
    assert world.scheduler.schedules == {}


def test_sink_retains_a_settled_root_until_its_expiry(world: InfraWorld) -> None:
    settled_at = world.clock.now()
    world.outlets.retain("w1", settled_at - 500, settled_at)

    (item,) = world.table.items()
    assert item["sk"] == {"S": "expiry#w1"}
    assert item["expire_at"] == {"N": str(-(-(settled_at + SETTINGS.retention_s * 1000) // 1000))}
    assert item["created_at"] == {"N": str(settled_at - 500)}
