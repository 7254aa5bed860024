"""Large values: what goes to S3, what is shown of it, and what an error means."""

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from resonate_store.dynamo.client import Unavailable
from resonate_store.dynamo.items import Expiry
from resonate_store.dynamo.large_values import TAG, THRESHOLD_BYTES, Missing, Payloads
from resonate_store.dynamo.store import DynamoStore
from resonate_store.interface import StoreError
from resonate_store.model.clock import ManualClock
from resonate_store.model.limits import MAX_VALUE_BYTES
from resonate_store.model.records import Claim, Value
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseRegisterListener,
    PromiseSearch,
    PromiseSettle,
    PromiseWake,
)
from resonate_store.model.schedule_requests import ScheduleCreate, ScheduleFire
from resonate_store.model.tags import ORIGIN, SCOPE, TIMER
from resonate_store.settings import SettingsError
from tests.support.dynamo import REGION, Table, Wire, after, make_client
from tests.support.present import present
from tests.support.substrates import T0

HOUR = 3_600_000
SMALL = Value(data="s" * 1000)
LARGE = Value(headers={"kind": "large"}, data="l" * 3000)


@pytest.fixture
def s3(table: Table) -> Any:
    """A client of S3 in which there is a bucket with the table's name."""
    client = boto3.client("s3", region_name=REGION)
    client.create_bucket(Bucket=table.name)
    return client


@pytest.fixture
def payloads(table: Table, s3: Any) -> Payloads:
    return Payloads(table.name, "t/", client=s3, threshold_bytes=2000, limit_bytes=10_000, width=1)


@pytest.fixture
def store(table: Table, clock: ManualClock, payloads: Payloads) -> DynamoStore:
    return table.store(clock, payloads=payloads)


def creation(id: str, param: Value = LARGE) -> PromiseCreate:
    return PromiseCreate(id, T0 + HOUR, param, {ORIGIN: id.partition(".")[0]})


def keys(s3: Any, table: Table) -> list[str]:
    return [found["Key"] for found in s3.list_objects_v2(Bucket=table.name).get("Contents", [])]


def tags(s3: Any, table: Table, key: str) -> list[dict[str, str]]:
    return s3.get_object_tagging(Bucket=table.name, Key=key)["TagSet"]


def test_large_value_is_stored_in_s3_and_shown_in_responses(store: DynamoStore, table: Table, s3: Any) -> None:
    created = store.apply(creation("a"))
    settled = store.apply(PromiseSettle("a", "resolved", LARGE))
    fresh = table.store(store.clock, payloads=Payloads(table.name, "t/", client=s3, width=1))

    for response in (created, settled, fresh.apply(PromiseGet("a")), store.apply(creation("a"))):
        assert response.promise is not None
        assert response.promise.param == LARGE
    [found] = present(fresh.apply(PromiseSearch(id="a")).promises)
    assert (found.param, found.value) == (LARGE, LARGE)
    item = table.item("a")
    assert item["param"]["M"].keys() == {"key", "size"}, "confirmed by the write that followed"
    assert {item[role]["M"]["key"]["S"] for role in ("param", "value")} == set(keys(s3, table))


def test_value_at_the_threshold_is_stored_in_the_table(store: DynamoStore, table: Table, s3: Any) -> None:
    edge = Value(data="e" * 2000)
    store.apply(creation("a", SMALL))
    store.apply(PromiseSettle("a", "resolved", edge))

    assert table.item("a")["value"]["M"]["data"]["S"] == edge.data
    assert keys(s3, table) == []


def test_value_above_the_limit_is_413_and_not_uploaded(
    store: DynamoStore, table: Table, s3: Any, subtests: pytest.Subtests
) -> None:
    store.apply(creation("a", SMALL))
    for request in [creation("b", Value(data="x" * 10_001)), PromiseSettle("a", "rejected", Value(data="é" * 5001))]:
        with subtests.test(request=request):
            response = store.apply(request)

            assert response.status == 413
            assert "10000 is the limit (RESONATE_PAYLOAD_LIMIT): keep large data elsewhere" in (response.error or "")
            assert keys(s3, table) == []


def test_object_without_a_claim_keeps_its_tag(store: DynamoStore, table: Table, s3: Any, clock: ManualClock) -> None:
    """Another has settled the promise, which this store does not know of when it uploads."""
    store.apply(creation("a", SMALL))
    table.store(clock, client=make_client()).apply(PromiseSettle("a", "rejected", SMALL))

    response = store.apply(PromiseSettle("a", "resolved", LARGE))

    assert response.promise is not None
    assert response.promise.value == SMALL
    [key] = keys(s3, table)
    assert tags(s3, table, key) == [{"Key": TAG[0], "Value": TAG[1]}]


def test_claim_is_confirmed_at_once_and_by_the_sweep(
    store: DynamoStore, table: Table, s3: Any, clock: ManualClock
) -> None:
    step = PromiseRecord("a.1", T0 + HOUR, T0, "resolved", LARGE, tags={ORIGIN: "a", SCOPE: "local"})
    assert store.apply(step).ok
    [key] = keys(s3, table)
    assert tags(s3, table, key) == []
    assert table.item("a.1")["value"]["M"]["unconfirmed"] == {"BOOL": True}
    assert store.due(T0) == []

    clock.advance(60_000)
    assert store.due(clock.now()) == [("promise", "a.1")]
    store.apply(PromiseWake("a.1"))

    assert "unconfirmed" not in table.item("a.1")["value"]["M"]
    assert store.due(clock.now() + HOUR) == []


def test_unconfirmed_claim_is_due_before_its_promise_times_out(store: DynamoStore) -> None:
    store.apply(PromiseCreate("a", T0 + HOUR, LARGE, {TIMER: "true"}))
    assert store.due(T0 + 60_000) == [("promise", "a")]


def test_listener_of_an_unconfirmed_promise_is_one_update(store: DynamoStore, wire: Wire) -> None:
    store.apply(creation("a"))
    wire.taken()
    store.apply(PromiseRegisterListener("a", "http://localhost:1/listener"))
    assert wire.taken() == ["GetItem", "UpdateItem"]


def test_failed_confirmation_is_made_by_the_next_write(
    store: DynamoStore, table: Table, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as failing:
        failing.setattr(s3, "delete_object_tagging", failures(s3.delete_object_tagging, 100))
        assert store.apply(creation("a")).ok
    store.apply(PromiseSettle("a", "resolved", SMALL))

    [key] = keys(s3, table)
    assert tags(s3, table, key) == []


def test_object_removed_before_its_confirmation_is_stored_again(
    store: DynamoStore, table: Table, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """moto does not report a missing object here, so the test does."""

    def untag_removed(**arguments: Any) -> None:
        s3.delete_object(**arguments)
        raise ClientError({"Error": {"Code": "NoSuchKey"}}, "DeleteObjectTagging")

    monkeypatch.setattr(s3, "delete_object_tagging", untag_removed)
    store.apply(creation("a"))

    [key] = keys(s3, table)
    assert tags(s3, table, key) == []


def test_value_is_uploaded_once_when_its_write_is_tried_again(
    store: DynamoStore, table: Table, s3: Any, wire: Wire
) -> None:
    store.apply(creation("a", SMALL))
    rival = table.store(store.clock, client=make_client())
    listener = PromiseRegisterListener("a", "http://localhost:1/listener")
    wire.taken()
    wire.faults.append(after(lambda: rival.apply(listener)))
    store.apply(PromiseSettle("a", "resolved", LARGE))

    assert wire.taken() == ["PutItem", "PutItem"]
    assert len(keys(s3, table)) == 1


@pytest.mark.parametrize("operation", ["put_object", "get_object"])
def test_busy_bucket_is_asked_again(
    store: DynamoStore, table: Table, s3: Any, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    monkeypatch.setattr(s3, operation, failures(getattr(s3, operation), 1))
    assert store.apply(creation("a")).ok
    fresh = table.store(store.clock, payloads=Payloads(table.name, "t/", client=s3, width=1))
    assert present(fresh.apply(PromiseGet("a")).promise).param == LARGE


def failures(call: Callable[..., Any], count: int) -> Callable[..., Any]:
    """Return `call`, whose first `count` calls fail because S3 is busy."""
    left = [ClientError({"Error": {"Code": "SlowDown"}}, "any")] * count

    def busy(**arguments: Any) -> Any:
        if left:
            raise left.pop()
        return call(**arguments)

    return busy


def test_promise_deleted_before_its_value_is_read_is_not_found(
    store: DynamoStore, table: Table, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.apply(creation("a"))
    store.apply(PromiseSettle("a", "resolved"))
    get_object = s3.get_object

    def get_deleted(**arguments: Any) -> Any:
        if store.record("a") is not None:
            store.delete_execution("a")
        return get_object(**arguments)

    monkeypatch.setattr(s3, "get_object", get_deleted)
    fresh = table.store(store.clock, payloads=Payloads(table.name, "t/", client=s3, width=1))
    assert fresh.apply(PromiseGet("a")).status == 404


def test_record_that_is_not_deleted_keeps_its_object(
    store: DynamoStore, payloads: Payloads, table: Table, s3: Any, wire: Wire
) -> None:
    for id in ("a", "a.1"):
        store.apply(creation(id))
    store.apply(PromiseSettle("a", "resolved", SMALL))
    rival = table.store(store.clock, client=make_client(), payloads=payloads)
    wire.faults.extend([None] * 5 + [after(lambda: rival.apply(PromiseSettle("a.1", "resolved", SMALL)))])

    assert not store.delete_tree(Expiry("a", T0), most=1000)
    assert table.item("a.1")["param"]["M"]["key"]["S"] in keys(s3, table)


def test_deleted_execution_leaves_no_object(store: DynamoStore, table: Table, s3: Any) -> None:
    store.apply(creation("a"))
    store.apply(PromiseSettle("a", "resolved", LARGE))
    assert store.delete_execution("a") == 1
    assert keys(s3, table) == []


def test_interrupted_deletion_leaves_its_objects_to_the_lifecycle(
    store: DynamoStore, table: Table, s3: Any, wire: Wire
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    store.apply(creation("a"))
    store.apply(PromiseSettle("a", "resolved", SMALL))
    wire.faults.extend([None] * 3 + [interrupt])
    with pytest.raises(KeyboardInterrupt):
        store.delete_tree(Expiry("a", T0), most=10)

    [key] = keys(s3, table)
    assert tags(s3, table, key) == [{"Key": TAG[0], "Value": TAG[1]}]


def test_cleared_table_leaves_its_objects_to_the_lifecycle(store: DynamoStore, table: Table, s3: Any) -> None:
    store.apply(creation("a"))
    store.debug().clear()
    [key] = keys(s3, table)
    assert tags(s3, table, key) == [{"Key": TAG[0], "Value": TAG[1]}]


def test_object_that_is_gone_already_is_disclaimed(payloads: Payloads) -> None:
    payloads.disclaim(["t/gone"])


def test_object_that_s3_does_not_delete_is_an_error() -> None:
    class Client:
        def delete_objects(self, **_: Any) -> dict[str, Any]:
            return {"Errors": [{"Key": "t/a", "Code": "InternalError", "Message": "try again"}]}

    with pytest.raises(Unavailable, match="S3 did not delete t/a: InternalError"):
        Payloads("b", "t/", client=Client()).delete(["t/a"])  # pyright: ignore[reportArgumentType]


def test_cache_above_its_size_drops_the_oldest_value(
    payloads: Payloads, table: Table, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resonate_store.dynamo.large_values.CACHE_BYTES", 7_000)
    first, *others = payloads.upload([LARGE] * 3)
    for key in keys(s3, table):
        s3.delete_object(Bucket=table.name, Key=key)

    assert len(payloads.values(others)) == 2
    with pytest.raises(Missing):
        payloads.values([first])


def test_cache_counts_a_value_fetched_twice_at_once_once(
    payloads: Payloads, table: Table, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resonate_store.dynamo.large_values.CACHE_BYTES", 7_000)
    claims = payloads.upload([LARGE] * 2)
    fresh = Payloads(table.name, "t/", client=s3, width=1)
    get_object = s3.get_object

    def get_twice(**arguments: Any) -> Any:
        s3.get_object = get_object
        fresh.values(claims[:1])
        return get_object(**arguments)

    monkeypatch.setattr(s3, "get_object", get_twice)
    fresh.values(claims)
    for key in keys(s3, table):
        s3.delete_object(Bucket=table.name, Key=key)
    assert len(fresh.values(claims)) == 2


def test_preload_above_its_size_leaves_claims(store: DynamoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resonate_store.dynamo.store.PRELOADED_BYTES", 4_000)
    for id in ("a.1", "a.2"):
        store.apply(creation(id, SMALL))
        store.apply(PromiseSettle(id, "resolved", LARGE))

    assert [type(child.value) for child in store.children("a")] == [Value, Claim]


def test_children_have_their_values_and_claims_of_params(store: DynamoStore) -> None:
    store.apply(creation("a.1"))
    store.apply(PromiseSettle("a.1", "resolved", LARGE))

    [child] = store.children("a")
    assert child.value == LARGE
    assert isinstance(child.param, Claim)


def test_occurrence_of_a_schedule_has_its_own_object(
    store: DynamoStore, table: Table, s3: Any, clock: ManualClock
) -> None:
    target = {"resonate:target": "lambda://worker"}
    assert store.apply(ScheduleCreate("s", "* * * * *", "{{.id}}.{{.timestamp}}", HOUR, LARGE, target)).ok
    for _ in range(2):
        clock.advance(60_000)
        store.apply(ScheduleFire("s"))

    params = [promise.param for promise in store.apply(PromiseSearch(id="s.")).promises or ()]
    assert params == [LARGE, LARGE]
    assert len(keys(s3, table)) == 2


def test_claim_without_a_bucket_raises_an_error(store: DynamoStore, table: Table) -> None:
    store.apply(creation("a"))
    with pytest.raises(StoreError, match="set RESONATE_BUCKET"):
        table.store(store.clock).apply(PromiseGet("a"))
    refused = table.store(store.clock).apply(creation("b", Value(data="x" * 450_000)))
    assert refused.status == 413
    assert "set RESONATE_BUCKET" in (refused.error or "")


def test_missing_object_is_named(store: DynamoStore, table: Table, s3: Any) -> None:
    store.apply(creation("a"))
    [key] = keys(s3, table)
    s3.delete_object(Bucket=table.name, Key=key)
    fresh = Payloads(table.name, "t/", client=s3, width=1)

    with pytest.raises(Missing, match=f"has no object '{key}'"):
        fresh.values([Claim(key=key, size=1)])


def test_settings_name_bucket_threshold_and_limit() -> None:
    environment = {"RESONATE_BUCKET": "b", "RESONATE_PAYLOAD_THRESHOLD": "4096", "RESONATE_PAYLOAD_LIMIT": "8192"}
    assert Payloads.of({}, "t") is None
    for variables, expected in (
        (environment, (4096, 8192)),
        ({"RESONATE_BUCKET": "b"}, (THRESHOLD_BYTES, MAX_VALUE_BYTES)),
    ):
        payloads = Payloads.of(variables, "t")
        assert payloads is not None
        assert (payloads.threshold_bytes, payloads.limit_bytes) == expected


def test_settings_that_are_malformed_are_named(subtests: pytest.Subtests) -> None:
    for name, text in [
        ("RESONATE_PAYLOAD_THRESHOLD", "1000"),
        ("RESONATE_PAYLOAD_THRESHOLD", "many"),
        ("RESONATE_PAYLOAD_LIMIT", "2000"),
        ("RESONATE_PAYLOAD_LIMIT", "-1"),
    ]:
        with subtests.test(name=name, text=text), pytest.raises(SettingsError, match=name):
            Payloads.of({"RESONATE_BUCKET": "b", name: text}, "t")
