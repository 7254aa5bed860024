"""Items of the table: every field of a record is stored and read back."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pynamodb.models import Model

from resonate_store.dynamo.items import (
    EXPIRY_ITEM,
    PROMISE_ITEM,
    SCHEDULE_ITEM,
    SHARDS,
    FieldType,
    depth_prefix,
    entry_of,
    expiry_item,
    expiry_of,
    item_of,
    key_in,
    table_key,
)
from resonate_store.dynamo.models import ExpiryModel, PromiseModel, ScheduleModel
from resonate_store.interface import DamagedRecord
from resonate_store.model.ids import SEPARATORS, origin
from resonate_store.model.ids import parent as parent_of
from resonate_store.model.records import Entry, Record, ScheduleRecord, TaskRecord, Value, key_of
from tests.support.tables import expiry_definition, table_definition

TEXT = st.text(max_size=8)
# The names that Python calls, and PynamoDB's attributes, give a meaning to.
NAMES = TEXT | st.sampled_from(["self", "null", "default", "attr_name", "attributes", "M", "S"])
INSTANTS = st.integers(0, 2**63)
COUNTS = st.integers(0, 1000)
IDS = st.text(min_size=1, max_size=12) | st.sampled_from(["a", "a.1", "a#b/c d.\U0001f600", ".", "a..b"])
VALUES = st.builds(Value, st.none() | st.dictionaries(NAMES, TEXT, max_size=3), st.none() | TEXT)
TAGS = st.dictionaries(NAMES | st.sampled_from(["resonate:target", "resonate:origin"]), TEXT, max_size=4)
TASKS = st.builds(
    TaskRecord,
    st.sampled_from(["pending", "acquired", "suspended", "halted", "fulfilled"]),
    COUNTS,
    st.none() | TEXT,
    st.none() | INSTANTS,
    st.none() | INSTANTS,
    st.none() | INSTANTS,
    st.none() | INSTANTS,
    COUNTS,
    st.lists(IDS, max_size=3).map(tuple),
    COUNTS,
    st.none() | TEXT,
    st.none() | INSTANTS,
)
RECORDS = st.builds(
    Record,
    IDS,
    st.sampled_from(["pending", "resolved", "rejected", "rejected_canceled", "rejected_timedout"]),
    INSTANTS,
    INSTANTS,
    VALUES,
    VALUES,
    TAGS,
    st.none() | INSTANTS,
    st.none() | TASKS,
    st.dictionaries(NAMES, COUNTS, max_size=3),
    st.dictionaries(NAMES, INSTANTS, max_size=3),
    st.booleans(),
    st.none() | INSTANTS,
    INSTANTS,
    COUNTS,
)
SCHEDULES = st.builds(
    ScheduleRecord,
    IDS,
    TEXT,
    TEXT,
    INSTANTS,
    INSTANTS,
    INSTANTS,
    VALUES,
    TAGS,
    st.none() | INSTANTS,
    st.none() | INSTANTS,
    INSTANTS,
    COUNTS,
)


@given(RECORDS | SCHEDULES, st.none() | TEXT, COUNTS)
def test_item_of_an_entry_can_be_read_back(entry: Entry, token: str | None, effects: int) -> None:
    item = item_of(entry, token=token, effects=effects)

    assert entry_of(item) == entry
    assert key_in(item) == key_of(entry)
    assert table_key(key_of(entry)) == {"pk": item["pk"], "sk": item["sk"]}


@given(RECORDS | SCHEDULES)
def test_item_of_an_entry_is_that_of_its_model(entry: Entry) -> None:
    item = item_of(entry, token="t", effects=1)
    model: type[Model] = PromiseModel if isinstance(entry, Record) else ScheduleModel

    assert model.from_raw_data(item).serialize() == item


def test_item_has_the_attributes_of_its_model(subtests: pytest.Subtests) -> None:
    cases: list[tuple[type[Model], dict[str, FieldType]]] = [
        (PromiseModel, PROMISE_ITEM),
        (ScheduleModel, SCHEDULE_ITEM),
        (ExpiryModel, EXPIRY_ITEM),
    ]
    for model, item in cases:
        with subtests.test(model=model):
            defined = {name: attribute.attr_type for name, attribute in model.get_attributes().items()}
            assert {name: field.kind for name, field in item.items()} == defined


def test_fields_of_an_entry_are_all_stored(subtests: pytest.Subtests) -> None:
    others = {"pk", "sk", "token", "effects", "wake_shard", "execution_state"}
    for entry, item in ((Record, PROMISE_ITEM), (ScheduleRecord, SCHEDULE_ITEM)):
        with subtests.test(entry=entry):
            assert set(entry.__struct_fields__) == item.keys() - others


def test_store_does_not_load_pynamodb() -> None:
    program = "import resonate_store.dynamo.store, sys; print('pynamodb' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"False\n"


@given(IDS, IDS)
@example("a.1", "a.10.1")
@example("a.1", "a.1.1")
@example("a.1", "a.1.1.1")
@example("a", "a:1")
@example("a", "a:1.1")
@example("a:1", "a:1.1")
@example("a", "a:x")
def test_depth_prefix_matches_direct_children_only(parent: str, id: str) -> None:
    key = table_key(("promise", id))
    found = [
        separator
        for separator in SEPARATORS
        for partition, prefix in [depth_prefix(parent, 1, separator)]
        if key["pk"] == partition and key["sk"]["S"].startswith(prefix["S"])
    ]

    assert found == ([id[len(parent)]] if parent == parent_of(id) else [])


def test_table_key_names_origin_and_depth() -> None:
    assert table_key(("promise", "a.1.2")) == {"pk": {"S": "p#a"}, "sk": {"S": "2#a.1.2"}}
    assert table_key(("schedule", "a.1")) == {"pk": {"S": "s#a.1"}, "sk": {"S": "schedule"}}


def test_item_with_a_wake_up_is_in_the_wake_index() -> None:
    idle, due = Record("a", "pending", 1, 0), Record("a", "pending", 1, 0, wake_at=1)

    assert "wake_shard" not in item_of(idle)
    assert int(item_of(due)["wake_shard"]["S"]) in range(SHARDS)
    assert item_of(due, shards=1)["wake_shard"] == {"S": "0"}


def test_item_of_a_root_is_in_the_executions_index() -> None:
    root = item_of(Record("a", "resolved", 1, 0))
    step = item_of(Record("a.1", "resolved", 1, 0, tags={"resonate:origin": "a"}))

    assert root["execution_state"]["S"].startswith("resolved#")
    assert "execution_state" not in step


def test_item_of_a_new_promise_has_maps_for_waiters() -> None:
    item = item_of(Record("a", "pending", 1, 0))

    assert (item["callbacks"], item["listeners"]) == ({"M": {}}, {"M": {}})


def test_table_definition_is_that_of_the_models() -> None:
    assert table_definition("t") == {
        "TableName": "t",
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": "created_at", "AttributeType": "N"},
            {"AttributeName": "execution_state", "AttributeType": "S"},
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
            {"AttributeName": "wake_at", "AttributeType": "N"},
            {"AttributeName": "wake_shard", "AttributeType": "S"},
        ],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        "GlobalSecondaryIndexes": [
            _index("wake", "wake_shard", "wake_at"),
            _index("executions", "execution_state", "created_at"),
        ],
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    }


def _index(name: str, hash_key: str, range_key: str) -> dict[str, Any]:
    return {
        "IndexName": name,
        "KeySchema": [
            {"AttributeName": hash_key, "KeyType": "HASH"},
            {"AttributeName": range_key, "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }


def test_table_expires_markers_only() -> None:
    assert expiry_definition("t")["TimeToLiveSpecification"] == {"Enabled": True, "AttributeName": "expire_at"}
    assert "expire_at" in ExpiryModel.get_attributes()
    assert "expire_at" not in PromiseModel.get_attributes()


def test_expiry_of_a_marker_is_its_root_and_life(subtests: pytest.Subtests) -> None:
    for id in ["a", "a.b.c", "a#b/c d\U0001f600"]:
        with subtests.test(id=id):
            item = expiry_item(id, 5, 1_001)

            assert item["pk"] == {"S": f"p#{origin(id)}"}
            assert item["expire_at"] == {"N": "2"}
            assert expiry_of(item) == (id, 5)


def test_expiry_of_another_item_is_none() -> None:
    assert expiry_of(item_of(Record("expiry#a", "pending", 1, 0))) is None


def test_damaged_item_raises_an_error_with_its_id() -> None:
    item = item_of(Record("w.1", "pending", 1, 1))
    for damaged in ({**item, "rev": {"N": "many"}}, {**item, "task": {"M": {"state": {"N": "1"}}}}):
        with pytest.raises(DamagedRecord, match=r"record of the promise 'w\.1' is damaged"):
            entry_of(damaged)
    del item["state"]
    with pytest.raises(DamagedRecord, match="damaged"):
        entry_of(item)
