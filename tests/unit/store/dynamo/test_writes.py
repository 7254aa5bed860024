"""Lost responses, competing writes, sizes, and what a write announces."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from resonate_store.dynamo.store import DynamoStore
from resonate_store.dynamo.writes import MAX_ITEM_BYTES, size_of
from resonate_store.machine.effects import Change
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import Value
from resonate_store.model.requests import PromiseCreate, PromiseDelivered, PromiseRegisterListener, Request
from resonate_store.model.schedule_requests import ScheduleDelete, ScheduleGet
from tests.support.build import (
    LISTENER,
    MINUTE,
    OUTSIDE,
    SECOND,
    TARGETED,
    acquire,
    create,
    create_task,
    delayed,
    fence,
    fulfill,
    get,
    heartbeat,
    listen,
    recorded,
    release,
    schedule,
    settle,
    suspend,
    value,
)
from tests.support.dynamo import GET, PUT, TRANSACT, UPDATE, Table, Wire, after, done, lost, make_client, refusing
from tests.support.present import present
from tests.support.substrates import T0


def large(id: str, size: int) -> PromiseCreate:
    return replace(create(id), param=Value(data="x" * size))


def test_write_with_a_lost_response_is_made_once(
    new_table: Callable[[], Table], monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    """It is sent again by the store, or by the client."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _seconds: None)
    cases: list[tuple[list[Request], Request, int]] = [
        ([], create("a"), 1),
        ([create("a")], settle("a"), 2),
        ([create("a")], listen("a"), 2),
        ([create_task("b"), create("a")], suspend("b", "a"), 2),
        ([create_task("b")], fence("b", create("a")), 1),
    ]
    for tries in (1, 2):
        for before, request, rev in cases:
            with subtests.test(request=request, tries=tries):
                table, client = new_table(), make_client(tries=tries)
                store = table.store(ManualClock(T0), client=client)
                done(store, *before)
                with Wire().tapping(client) as wire:
                    wire.faults.extend([None, lost] if isinstance(request, PromiseRegisterListener) else [lost])
                    done(store, request)
                first, again = (operation for operation in wire.taken() if operation != GET)
                assert first == again
                assert present(store.record("a")).rev == rev


def test_write_with_a_lost_response_differs_from_a_later_write(
    table: Table, store: DynamoStore, wire: Wire, clock: ManualClock
) -> None:
    done(store, create("a", TARGETED))
    other = table.store(clock, client=make_client())
    wire.faults.extend([None, lost, after(lambda: done(other, listen("a")))])
    # The listener's update bears another token, so the acquisition finds its own task held.
    assert store.apply(acquire("a")).status == 409
    assert store.apply(fulfill("a")).ok


def test_schedule_delete_with_a_lost_response_succeeds(store: DynamoStore, wire: Wire) -> None:
    done(store, schedule("s"))
    wire.faults.extend([None, lost])
    assert store.apply(ScheduleDelete("s")).ok
    assert store.apply(ScheduleGet("s")).status == 404


def test_competing_settlement_is_read_from_the_refusal(
    table: Table, store: DynamoStore, wire: Wire, clock: ManualClock
) -> None:
    done(store, create("a"))
    rival = table.store(clock, client=make_client())
    wire.taken()
    wire.faults.append(after(lambda: done(rival, settle("a", data="theirs"))))
    response = store.apply(settle("a", data="ours"))
    assert present(response.promise).value == value("theirs")
    assert wire.taken() == [PUT]


def test_competing_listener_is_kept_by_a_settlement(
    table: Table, store: DynamoStore, wire: Wire, clock: ManualClock
) -> None:
    done(store, create("a"))
    rival = table.store(clock, client=make_client())
    wire.taken()
    wire.faults.append(after(lambda: done(rival, listen("a"))))
    response = store.apply(settle("a"))
    assert present(response.promise).state == "resolved"
    assert wire.taken() == [PUT, PUT]
    assert list(table.item("a")["listeners"]["M"]) == [LISTENER]
    assert clock.now() == T0


def test_competing_heartbeat_repeats_a_transaction_once(
    table: Table, store: DynamoStore, wire: Wire, clock: ManualClock
) -> None:
    done(store, create_task("a"), create("a.1"))
    rival = table.store(clock, client=make_client())
    wire.taken()
    wire.faults.append(after(lambda: done(rival, heartbeat(("a", 1)))))
    done(store, suspend("a", "a.1"))
    assert wire.taken() == [TRANSACT, TRANSACT]


def test_competing_listeners_do_not_conflict(table: Table, store: DynamoStore, wire: Wire, clock: ManualClock) -> None:
    done(store, create("a", OUTSIDE))
    rival = table.store(clock, client=make_client())
    wire.taken()
    for n in range(3):
        wire.faults.extend([None, after(lambda n=n: done(rival, listen("a", f"{LISTENER}-rival{n}")))])
        done(store, listen("a", f"{LISTENER}{n}"))
    assert wire.taken() == [GET, UPDATE] * 3
    record = present(store.record("a"))
    assert (len(record.listeners), record.rev) == (6, 7)


def ignoring_images(_event_name: str, request: Any) -> None:
    """The endpoint does not know `ReturnValuesOnConditionCheckFailure`."""
    request.body = re.sub(rb', ?"ReturnValuesOnConditionCheckFailure": ?"ALL_OLD"', b"", request.body)


def test_endpoint_without_images_is_read_once(table: Table, store: DynamoStore, wire: Wire, clock: ManualClock) -> None:
    done(store, create_task("a"), create("a.1"))
    rival = table.store(clock, client=make_client())
    wire.taken()
    wire.faults.append(after(lambda: (clock.advance(1), done(rival, heartbeat(("a", 1)))), ignoring_images))
    done(store, suspend("a", "a.1"))
    assert wire.taken() == [TRANSACT, GET, TRANSACT]

    wire.faults.append(after(lambda: done(rival, settle("a.1")), ignoring_images))
    assert store.apply(create("a.1")).promise == rival.apply(get("a.1")).promise
    assert wire.taken().count(GET) <= 1


def test_endpoint_without_images_recognises_a_write_of_ours(table: Table, clock: ManualClock) -> None:
    client = make_client(tries=2)
    store = table.store(clock, client=client)
    with Wire().tapping(client) as wire:
        wire.faults.extend([lost, ignoring_images])
        assert store.apply(create("a")).status == 200
        assert wire.taken() == [PUT, PUT, GET]


def test_competition_without_end_is_503(table: Table, wire: Wire, clock: ManualClock) -> None:
    store = table.store(clock, max_attempts=3)
    rival = table.store(clock, client=make_client())
    done(store, create_task("a"))
    wire.taken()
    wire.faults.extend([after(lambda: (clock.advance(1), done(rival, heartbeat(("a", 1)))))] * 3)
    response = store.apply(release("a", handover=True))
    assert response.status == 503
    assert response.error == "given up after 3 tries: others keep writing to the same records"
    assert wire.taken() == [PUT] * 3


def test_item_above_the_limit_is_413_and_not_sent(store: DynamoStore, wire: Wire) -> None:
    response = store.apply(large("a", MAX_ITEM_BYTES))
    assert response.status == 413
    assert present(response.error).startswith("promise 'a' would be an item of 4")
    assert str(MAX_ITEM_BYTES) in present(response.error)
    assert wire.taken() == []


def test_listener_that_makes_an_item_too_large_is_413(store: DynamoStore) -> None:
    done(store, large("a", 404_000))  # moto takes less than DynamoDB
    assert store.apply(listen("a", f"http://localhost/{'y' * 6_000}")).status == 413
    done(store, listen("a"))


def test_transaction_above_the_limit_is_413(store: DynamoStore) -> None:
    awaited = [f"a.{n}" for n in range(11)]
    done(store, create_task("a"), *(large(id, 390_000) for id in awaited))
    response = store.apply(suspend("a", *awaited))
    assert response.status == 413
    assert "12 records" in present(response.error)


def test_validation_error_of_dynamodb_is_400_or_413(store: DynamoStore, wire: Wire, subtests: pytest.Subtests) -> None:
    for message, status in [
        ("Item size to update has exceeded the maximum allowed size", 413),
        ("An attribute name is empty", 400),
    ]:
        with subtests.test(status=status):
            wire.faults.append(refusing("ValidationException", message=message))
            response = store.apply(create("a"))
            assert (response.status, response.error) == (status, f"DynamoDB does not take this: {message}")
            done(store, create_task(f"b{status}"))
            wire.faults.append(
                refusing(
                    "TransactionCanceledException",
                    CancellationReasons=[{"Code": "None"}, {"Code": "ValidationError", "Message": message}],
                )
            )
            assert store.apply(fence(f"b{status}", create("b.1"))).status == status


def test_size_of_an_item_is_that_of_dynamodb() -> None:
    item = {
        "text": {"S": "\u00e9\U0001f600"},
        "map": {"M": {"k": {"S": "v"}}},
        "list": {"L": [{"S": "ab"}]},
        "flag": {"BOOL": True},
        "n": {"N": "12"},
    }
    assert size_of(item) == (4 + 6) + (3 + 3 + 1 + 1 + 1) + (4 + 3 + 1 + 2) + (4 + 1) + (1 + 3)


def test_write_announces_the_number_of_its_effects(new_table: Callable[[], Table], subtests: pytest.Subtests) -> None:
    for before, request, id, effects in [
        ([], create("a", TARGETED), "a", 1),
        ([], create("a", delayed(T0 + MINUTE)), "a", 1),
        ([], create("a"), "a", None),
        ([], recorded("a.1"), "a.1", 1),
        ([create_task("a")], heartbeat(("a", 1)), "a", None),
        ([create("a"), listen("a")], settle("a"), "a", 2),
        ([create("a", at=T0 + SECOND)], listen("a"), "a", 1),
        ([create("a", at=T0 + SECOND), listen("a")], listen("a", "http://x"), "a", None),
        ([create("a"), settle("a")], PromiseDelivered("a"), "a", None),
        ([create("a", TARGETED)], acquire("a"), "a", None),
    ]:
        with subtests.test(before=before, request=request):
            table = new_table()
            store = table.store(ManualClock(T0))
            done(store, *before, request)
            assert table.item(id).get("effects") == (None if effects is None else {"N": str(effects)})


def test_write_without_announcement_returns_its_changes(table: Table, store: DynamoStore) -> None:
    response, changes = store.transact(create("a", TARGETED), announce=False)
    assert response.ok
    assert "effects" not in table.item("a")
    assert changes == [Change(None, store.record("a"))]
    store.transact(listen("a"), announce=False)
    assert "effects" not in table.item("a")


def test_write_has_a_token_of_its_own(table: Table, clock: ManualClock) -> None:
    numbers = itertools.count()
    store = table.store(clock, identify=lambda: f"write {next(numbers)}")
    tokens: list[str] = []
    for request in (create("a"), listen("a"), settle("a")):
        done(store, request)
        tokens.append(table.item("a")["token"]["S"])
    assert tokens == ["write 0", "write 1", "write 2"]
