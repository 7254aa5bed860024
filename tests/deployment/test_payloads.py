"""Large values lie in S3 as long as their promise is there; whatever is interrupted, none is missing or forgotten."""

import itertools
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, get_args

import pytest

import resonate_store.dynamo.s3
import resonate_store.dynamo.store
from resonate.errors import PayloadTooLargeError
from resonate_infra.testing.moto.cloud import Call, Moment
from resonate_infra.testing.process import Killed
from resonate_infra.testing.stack import OfflineStack
from resonate_infra.testing.template.buckets import keys_in
from resonate_store.dynamo.deletion import NotDeletable
from resonate_store.dynamo.large_values import TAG
from resonate_store.model.records import Value
from resonate_store.model.requests import PromiseCreate, PromiseRecord, PromiseSettle
from resonate_store.model.tags import ORIGIN, SCOPE
from tests.deployment.conftest import Begin
from tests.support import journal
from tests.support.faults import Fault
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
    """The keys of the objects that the table claims, and whether their claims are confirmed."""
    values = [item.get(role, {}).get("M", {}) for item in items(stack) for role in ("param", "value")]
    return {value["key"]["S"]: "unconfirmed" not in value for value in values if "key" in value}


def removable(stack: OfflineStack) -> set[str]:
    """The keys of the objects that the lifecycle rule removes."""
    s3, bucket = stack.cloud.client("s3"), stack.deployment.bucket
    tag = {"Key": TAG[0], "Value": TAG[1]}
    tags = {key: s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"] for key in keys_in(stack.cloud.client, bucket)}
    return {key for key, found in tags.items() if found == [tag]}


def objects(stack: OfflineStack) -> set[str]:
    return set(keys_in(stack.cloud.client, stack.deployment.bucket))


def check(stack: OfflineStack, what: object, *, deleting: bool = False) -> None:
    """Every claim has its object, and every other object will be removed by somebody."""
    caller, stack.cloud.caller = stack.cloud.caller, ""
    claims, there, going = claimed(stack), objects(stack), removable(stack)
    stack.cloud.caller = caller
    assert claims.keys() <= there, f"claimed and not there: {what}"
    assert there - claims.keys() <= going, f"there, and nobody removes it: {what}"
    if not deleting:
        confirmed = {key for key, confirmed in claims.items() if confirmed}
        assert confirmed & going == set(), f"removed though claimed: {what}"


def test_arguments_results_and_errors_of_any_size_are_kept(stack: OfflineStack, begin: Begin) -> None:
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
    assert stack.next_event_at() is None, "nobody looks after them any more"


def test_they_go_with_their_execution(stack: OfflineStack, begin: Begin) -> None:
    begin("w1", "bulky", TEXT)
    stack.expires = True
    stack.advance(days=2)

    assert objects(stack) == set()
    assert items(stack) == []


def test_an_execution_is_deleted_by_hand_with_its_values(stack: OfflineStack, begin: Begin) -> None:
    begin("w1", "bulky", TEXT)
    with pytest.raises(NotDeletable):
        stack.store.delete_execution("w1")
    stack.run_until_complete("w1")
    stack.pump()

    assert stack.store.delete_execution("w1") == 5
    stack.pump()
    assert objects(stack) == set()
    assert items(stack) == []


def test_a_value_above_the_limit_is_an_error_of_the_call_that_produced_it(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("w1", "immoderate", LIMIT)
    stack.run_until_complete("w1")

    result, argument = handle.result(0)
    assert result.startswith("PayloadTooLargeError: ")
    assert f"the value of promise 'w1.1' has 349528 bytes, encoded, and {LIMIT} is the limit" in result
    assert argument.startswith("PayloadTooLargeError: ")
    assert "the param of promise 'w1.2'" in argument
    assert "RESONATE_PAYLOAD_LIMIT" in argument
    assert objects(stack) == set(), "nothing is uploaded in vain"


def test_whoever_calls_with_too_much_is_told_so(stack: OfflineStack, begin: Begin) -> None:
    with pytest.raises(PayloadTooLargeError, match=r"the param of promise 'w0' has \d+ bytes"):
        stack.start("bulky", "y" * LIMIT, id="w0")
    with pytest.raises(PayloadTooLargeError, match=r"the param of promise 'w1' has \d+ bytes"):
        begin("w1", "bulky", "y" * LIMIT)


def test_a_root_whose_result_is_too_large_fails_and_says_why(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("w1", "oversized", LIMIT)
    stack.run_until_complete("w1", days=3)

    with pytest.raises(PayloadTooLargeError, match="is the limit"):
        handle.result(0)


@pytest.mark.usefixtures("cold")
def test_where_no_value_is_large_nothing_of_s3_is_loaded(
    stack: OfflineStack, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_width: int) -> Any:
        raise AssertionError("a client of S3 costs a cold start")

    monkeypatch.setattr(resonate_store.dynamo.s3, "_make_client", never)
    handle = begin("w1", "journey")
    stack.run_until_complete("w1")

    assert handle.result(0) == 90
    assert stack.operations("s3").total() == 0


@pytest.mark.parametrize("preloaded", [resonate_store.dynamo.store.PRELOADED, 0])
def test_replay_finds_results_that_are_too_large_to_come_along(
    stack: OfflineStack, begin: Begin, monkeypatch: pytest.MonkeyPatch, preloaded: int
) -> None:
    monkeypatch.setattr(resonate_store.dynamo.store, "PRELOADED", preloaded)
    handle = begin("w1", "heavy", 3, 50_000)
    stack.pump()
    stack.processes.forget_all()
    stack.reset_counts()
    stack.run_until_complete("w1")

    assert handle.result(0) == 150_000
    assert set(journal.runs.values()) == {1}
    assert stack.operations("s3")["GetObject"] == 3


@pytest.mark.parametrize("moment", get_args(Moment))
def test_a_stop_at_every_request_while_values_are_written(stack: OfflineStack, begin: Begin, moment: Moment) -> None:
    for position in itertools.count():
        stack.clear()
        journal.clear()
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
    """An execution that has ended, with large values in its root and in a step."""
    store = stack.store
    payload = Value(data="z" * 40_000)
    timeout_at = stack.clock.now() + 3_600_000
    assert store.apply(PromiseCreate(id, timeout_at, payload, tags={ORIGIN: id})).ok
    now, tags = stack.clock.now(), {ORIGIN: id, SCOPE: "local"}
    assert store.apply(PromiseRecord(f"{id}.1", timeout_at, now, "resolved", payload, tags=tags)).ok
    assert store.apply(PromiseSettle(id, "resolved", payload)).ok
    stack.pump()


@pytest.mark.parametrize("moment", get_args(Moment))
def test_a_stop_at_every_request_while_the_tree_is_deleted(stack: OfflineStack, moment: Moment) -> None:
    for position in itertools.count():
        stack.clear()
        settle_with_large_values(stack, f"deleted-{moment}-{position}")
        fault = stack.cloud.fault = Checked(stack, "DispatchFunction", moment, position, deleting=True)
        stack.expires = True

        stack.advance(days=2)
        check(stack, fault.hit)
        assert items(stack) == [], fault.hit
        assert fault.hit is not None or objects(stack) == set(), "what is left after a stop, the lifecycle removes"
        if fault.hit is None:
            break
    assert {call.operation for call in fault.seen} >= {"PutObjectTagging", "DeleteItem", "DeleteObjects"}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_stop_at_every_request_while_an_execution_is_deleted_by_hand(stack: OfflineStack, moment: Moment) -> None:
    for position in itertools.count():
        stack.clear()
        id = f"by-hand-{moment}-{position}"
        settle_with_large_values(stack, id)
        fault = stack.cloud.fault = Checked(stack, "", moment, position, deleting=True)
        with suppress(Killed):
            stack.store.delete_execution(id)
        stack.cloud.fault = None
        check(stack, fault.hit, deleting=True)
        begun = stack.store.record(id) is None or removable(stack) != set()
        stack.expires = True
        # Well before the retention of a day is over.
        stack.advance(minutes=5)
        check(stack, fault.hit)
        assert not begun or items(stack) == [], f"what was begun is not finished: {fault.hit}"
        if fault.hit is None:
            break
    assert {call.operation for call in fault.seen} >= {"PutItem", "PutObjectTagging", "DeleteItem", "DeleteObjects"}


class Checked(Fault):
    """A fault after which everything is as it should be, at once and not only in the end; `seen` are the requests."""

    def __init__(
        self, stack: OfflineStack, function: str, moment: Moment, position: int, *, deleting: bool = False
    ) -> None:
        super().__init__(stack, function, moment, position)
        self.seen: list[Call] = []
        self._deleting = deleting
        self._checking = False

    def __call__(self, moment: Moment, call: Call) -> None:
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
