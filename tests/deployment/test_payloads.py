"""Large values in S3: written, deleted and limited, with faults at each request."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, get_args

import pytest

import resonate_store.dynamo.s3
import resonate_store.dynamo.store
from resonate.errors import PayloadTooLargeError
from resonate.operations.forking import fork
from resonate.testing.faults import Killed
from resonate_infra.testing.moto.cloud import CountedCall, Moment
from resonate_infra.testing.stack import OfflineStack
from resonate_infra.testing.template.buckets import keys_in
from resonate_store.dynamo.deletion import NotDeletable
from resonate_store.dynamo.large_values import TAG
from resonate_store.model.records import Value
from resonate_store.model.requests import PromiseCreate, PromiseRecord, PromiseSettle
from resonate_store.model.tags import ORIGIN, SCOPE
from tests.deployment.conftest import Begin
from tests.support import journal
from tests.support.faults import Fault, in_turn, positions
from tests.support.worker_code import WORKFLOWS

LIMIT = 262_144
TEXT = "y" * 40_000


@pytest.fixture(scope="module")
def deployed() -> Iterator[OfflineStack]:
    parameters: dict[str, str | int] = {"PayloadLimit": LIMIT, "RetentionDays": 1}
    with OfflineStack(code={"WorkerFunction": WORKFLOWS}, parameters=parameters) as stack:
        yield stack


def items(stack: OfflineStack) -> list[dict[str, Any]]:
    return stack.cloud.client("dynamodb").scan(TableName=stack.deployment.table_name)["Items"]


def claimed(stack: OfflineStack) -> dict[str, bool]:
    """Return the keys of the objects that the table claims, and whether each claim is confirmed."""
    values = [item.get(role, {}).get("M", {}) for item in items(stack) for role in ("param", "value")]
    return {value["key"]["S"]: "unconfirmed" not in value for value in values if "key" in value}


def removable(stack: OfflineStack) -> set[str]:
    """Return the keys of the objects that the lifecycle rule removes."""
    s3, bucket = stack.cloud.client("s3"), stack.deployment.bucket
    tag = {"Key": TAG[0], "Value": TAG[1]}
    tags = {key: s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"] for key in keys_in(stack.cloud.client, bucket)}
    return {key for key, found in tags.items() if found == [tag]}


def objects(stack: OfflineStack) -> set[str]:
    return set(keys_in(stack.cloud.client, stack.deployment.bucket))


def check(stack: OfflineStack, what: object, *, deleting: bool = False) -> None:
    """Assert that each claim has its object, and that the lifecycle rule removes each other object."""
    caller, stack.cloud.caller = stack.cloud.caller, ""
    claims, there, going = claimed(stack), objects(stack), removable(stack)
    stack.cloud.caller = caller
    assert claims.keys() <= there, f"claimed and not there: {what}"
    assert there - claims.keys() <= going, f"neither claimed nor removed: {what}"
    if not deleting:
        confirmed = {key for key, confirmed in claims.items() if confirmed}
        assert confirmed & going == set(), f"removed though claimed: {what}"


def test_large_arguments_results_and_errors_are_kept(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("w1", "bulky", TEXT)
    stack.run_until_complete("w1")

    assert handle.result(0) == "x" * len(TEXT) + TEXT
    assert journal.runs == {"w1.1": 1, "w1.3.1": 1}
    assert all(len(str(item)) < 3000 for item in items(stack))
    stack.advance(minutes=3)
    assert objects(stack) == claimed(stack).keys()
    assert len(objects(stack)) == 5, "the argument twice, a step, an error, the result"
    assert set(claimed(stack).values()) == {True}
    assert removable(stack) == set()
    assert stack.next_event_at() is None, "no further work is due"


def test_large_values_are_deleted_with_their_execution(stack: OfflineStack, begin: Begin) -> None:
    begin("w1", "bulky", TEXT)
    stack.expires = True
    stack.advance(days=2)

    assert objects(stack) == set()
    assert items(stack) == []


def test_large_values_are_deleted_by_delete_execution(stack: OfflineStack, begin: Begin) -> None:
    begin("w1", "bulky", TEXT)
    with pytest.raises(NotDeletable):
        stack.store.delete_execution("w1")
    stack.run_until_complete("w1")
    stack.pump()

    assert stack.store.delete_execution("w1") == 5
    stack.pump()
    assert objects(stack) == set()
    assert items(stack) == []


def test_fork_has_copies_of_large_values(stack: OfflineStack, begin: Begin) -> None:
    begin("w1", "bulky", TEXT)
    stack.run_until_complete("w1")
    fork(stack.store, "w1", from_command=3, new_id="w2", clock=stack.clock)
    own = claimed(stack)
    assert stack.store.delete_execution("w1") == 5
    stack.pump()
    expected = stack.result("w2")

    assert expected is not None
    assert objects(stack) == claimed(stack).keys()
    assert len(own.keys() & claimed(stack).keys()) >= 2, "not those of the deleted execution"
    assert removable(stack) == set()


def test_value_above_the_limit_is_an_error_of_its_call(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("w1", "immoderate", LIMIT)
    stack.run_until_complete("w1")

    result, argument = handle.result(0)
    assert result.startswith("PayloadTooLargeError: ")
    assert f"the value of promise 'w1.1' has 349528 bytes, encoded, and {LIMIT} is the limit" in result
    assert argument.startswith("PayloadTooLargeError: ")
    assert "the param of promise 'w1.2'" in argument
    assert "RESONATE_PAYLOAD_LIMIT" in argument
    assert objects(stack) == set(), "values above the limit are not uploaded"


def test_call_with_arguments_above_the_limit_is_refused(stack: OfflineStack, begin: Begin) -> None:
    with pytest.raises(PayloadTooLargeError, match=r"the param of promise 'w0' has \d+ bytes"):
        stack.start("bulky", "y" * LIMIT, id="w0")
    with pytest.raises(PayloadTooLargeError, match=r"the param of promise 'w1' has \d+ bytes"):
        begin("w1", "bulky", "y" * LIMIT)


def test_root_with_a_result_above_the_limit_is_rejected(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("w1", "oversized", LIMIT)
    stack.run_until_complete("w1", days=3)

    with pytest.raises(PayloadTooLargeError, match="is the limit"):
        handle.result(0)


@pytest.mark.usefixtures("cold")
def test_workflow_without_large_values_loads_no_s3_client(
    stack: OfflineStack, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("a client of S3 costs a cold start")

    monkeypatch.setattr(resonate_store.dynamo.s3, "client_of", never)
    handle = begin("w1", "journey")
    stack.run_until_complete("w1")

    assert handle.result(0) == 90
    assert stack.operations("s3").total() == 0


@pytest.mark.parametrize("preloaded", [resonate_store.dynamo.store.PRELOADED_BYTES, 0])
def test_replay_reads_results_that_are_not_preloaded(
    stack: OfflineStack, begin: Begin, monkeypatch: pytest.MonkeyPatch, preloaded: int
) -> None:
    monkeypatch.setattr(resonate_store.dynamo.store, "PRELOADED_BYTES", preloaded)
    handle = begin("w1", "heavy", 3, 50_000)
    stack.pump()
    stack.processes.forget_all()
    stack.reset_counts()
    stack.run_until_complete("w1")

    assert handle.result(0) == 150_000
    assert set(journal.runs.values()) == {1}
    assert stack.operations("s3")["GetObject"] == 3


@in_turn(*get_args(Moment))
def test_writing_of_large_values_survives_a_fault_at_each_request(
    stack: OfflineStack, begin: Begin, moments: tuple[Moment, ...]
) -> None:
    for position in positions():
        stack.clear()
        journal.clear()
        moment = moments[position % len(moments)]
        id = f"{moment}-{position}"
        handle = begin(id, "copying", TEXT)
        fault = stack.cloud.fault = Checked(stack, "WorkerFunction", moment, position)

        stack.run_until_complete(id)
        assert handle.result(0) == TEXT, fault.hit
        check(stack, fault.hit)
        stack.advance(minutes=5)
        check(stack, fault.hit)
        assert set(claimed(stack).values()) == {True}, f"not looked after: {fault.hit}"
        if fault.hit is None:
            break
    assert position > 6
    assert {call.service for call in fault.seen} == {"dynamodb", "s3"}


def settle_with_large_values(stack: OfflineStack, id: str) -> None:
    """Create a settled execution with large values in its root and in a step."""
    store = stack.store
    payload = Value(data="z" * 40_000)
    timeout_at = stack.clock.now() + 3_600_000
    assert store.apply(PromiseCreate(id, timeout_at, payload, tags={ORIGIN: id})).ok
    now, tags = stack.clock.now(), {ORIGIN: id, SCOPE: "local"}
    assert store.apply(PromiseRecord(f"{id}.1", timeout_at, now, "resolved", payload, tags=tags)).ok
    assert store.apply(PromiseSettle(id, "resolved", payload)).ok
    stack.pump()


@in_turn(*get_args(Moment))
def test_deletion_by_the_dispatcher_survives_a_fault_at_each_request(
    stack: OfflineStack, moments: tuple[Moment, ...]
) -> None:
    for position in positions():
        stack.clear()
        moment = moments[position % len(moments)]
        settle_with_large_values(stack, f"deleted-{moment}-{position}")
        fault = stack.cloud.fault = Checked(stack, "DispatchFunction", moment, position, deleting=True)
        stack.expires = True

        stack.advance(days=2)
        check(stack, fault.hit)
        assert items(stack) == [], fault.hit
        assert fault.hit is not None or objects(stack) == set(), "only a fault leaves objects to the lifecycle rule"
        if fault.hit is None:
            break
    assert {call.operation for call in fault.seen} >= {"PutObjectTagging", "DeleteItem", "DeleteObjects"}


@in_turn("before", "after")
def test_delete_execution_survives_a_fault_at_each_request(stack: OfflineStack, moments: tuple[Moment, ...]) -> None:
    for position in positions():
        stack.clear()
        moment = moments[position % len(moments)]
        id = f"by-hand-{moment}-{position}"
        settle_with_large_values(stack, id)
        fault = stack.cloud.fault = Checked(stack, "", moment, position, deleting=True)
        with suppress(Killed):
            stack.store.delete_execution(id)
        stack.cloud.fault = None
        check(stack, fault.hit, deleting=True)
        begun = stack.store.record(id) is None or removable(stack) != set()
        stack.expires = True
        # The retention is a day.
        stack.advance(minutes=5)
        check(stack, fault.hit)
        assert not begun or items(stack) == [], f"a deletion that began is not finished: {fault.hit}"
        if fault.hit is None:
            break
    assert {call.operation for call in fault.seen} >= {"PutItem", "PutObjectTagging", "DeleteItem", "DeleteObjects"}


class Checked(Fault):
    """Fault that checks claims and objects immediately. `seen` has the requests of the function."""

    def __init__(
        self, stack: OfflineStack, function: str, moment: Moment, position: int, *, deleting: bool = False
    ) -> None:
        super().__init__(stack, function, moment, position)
        self.seen: list[CountedCall] = []
        self._deleting = deleting
        self._checking = False

    def __call__(self, moment: Moment, call: CountedCall) -> None:
        if self._checking:
            return
        if moment == "before" and call.caller == self._function:
            self.seen.append(call)
        try:
            super().__call__(moment, call)
        except Killed:
            self._checking = True
            check(self._stack, call, deleting=self._deleting)
            self._checking = False
            raise
