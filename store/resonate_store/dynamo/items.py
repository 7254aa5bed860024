"""Items of the table: the one definition of keys, attributes, indexes and expiry (docs/rules.md D1).

PynamoDB models describe the items, and their attributes serialise them. Search, deletion, the conditions of writes and
the filters of the stream name attributes as well. An attribute that is renamed here must be renamed there too. The
models never call DynamoDB: PynamoDB cannot return the old image of a failed write. Calls go through the botocore
client, with the items built here.

Some attribute classes are our own, because a round trip must be exact. PynamoDB's map takes its entries as keyword
arguments, so a tag named `self` breaks it. Its numbers are floats.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar, cast

from msgspec import MsgspecError, convert, structs, to_builtins
from pynamodb.attributes import Attribute, BooleanAttribute, TTLAttribute, UnicodeAttribute
from pynamodb.constants import BOOLEAN, LIST, MAP, NUMBER, STRING
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection
from pynamodb.models import Model

from resonate_store.interface import DamagedRecord
from resonate_store.model.ids import depth, origin, shard
from resonate_store.model.records import (
    Claim,
    Entry,
    Key,
    PromiseState,
    Record,
    ScheduleRecord,
    TaskRecord,
    Value,
    key_of,
)

Item = dict[str, dict[str, Any]]
"""An item in botocore's format: each value is a map from its type to its content."""
AnyItem = Mapping[str, Mapping[str, Any]]
"""An item that is only read."""
Attributes = Mapping[str, Attribute[Any]]

SHARDS: Final = 8
"""How many partitions each index has. If it is changed, due items in the old partitions are not found any more."""

CONFIRMATION_MS: Final = 60_000
"""How long (ms) a claim may stay unconfirmed before the sweep confirms it."""

_SCHEDULE_SK: Final = "schedule"
_EXPIRY_SK: Final = "expiry#"

_T = TypeVar("_T")


def typed(value: Any) -> dict[str, Any]:
    """Return a plain value in DynamoDB's format."""
    match value:
        case str():
            return {STRING: value}
        case bool():  # before int, because a bool is an int
            return {BOOLEAN: value}
        case int():
            return {NUMBER: str(value)}
        case dict():
            return {MAP: {key: typed(entry) for key, entry in cast("dict[str, Any]", value).items()}}
        case list() | tuple():
            return {LIST: [typed(entry) for entry in cast("list[Any]", value)]}
        case _:
            raise TypeError(f"no DynamoDB type for {type(value).__name__}")


def plain(value: Mapping[str, Any]) -> Any:
    """Return the plain value of a value in DynamoDB's format."""
    ((kind, content),) = value.items()
    if kind == NUMBER:
        return int(content)
    if kind == MAP:
        return {key: plain(entry) for key, entry in content.items()}
    if kind == LIST:
        return [plain(entry) for entry in content]
    return content


class IntegerAttribute(Attribute[int]):
    """Attribute for a whole number: an instant, a duration or a counter."""

    attr_type = NUMBER

    def serialize(self, value: int) -> str:
        return str(value)

    def deserialize(self, value: str) -> int:
        return int(value)


class TextMapAttribute(Attribute["dict[str, str]"]):
    """Attribute for a map of texts. Any key is allowed."""

    attr_type = MAP

    def serialize(self, value: dict[str, str]) -> Item:
        return {key: {STRING: text} for key, text in value.items()}

    def deserialize(self, value: Item) -> dict[str, str]:
        return {key: text[STRING] for key, text in value.items()}


class IntegerMapAttribute(Attribute["dict[str, int]"]):
    """Attribute for a map of whole numbers.

    Any key is allowed. An empty map is stored, so that an update can add an entry.
    """

    attr_type = MAP

    def serialize(self, value: dict[str, int]) -> Item:
        return {key: {NUMBER: str(number)} for key, number in value.items()}

    def deserialize(self, value: Item) -> dict[str, int]:
        return {key: int(number[NUMBER]) for key, number in value.items()}


class StructAttribute(Attribute[_T], Generic[_T]):
    """Attribute for a msgspec struct, as a map of its fields without defaults."""

    attr_type = MAP

    def __init__(self, struct: type[_T], *, null: bool = False) -> None:
        super().__init__(null=null)
        self._struct = struct

    def serialize(self, value: _T) -> Item:
        return typed(to_builtins(value))[MAP]

    def deserialize(self, value: Item) -> _T:
        return convert(plain({MAP: value}), self._struct)


class ValueAttribute(StructAttribute[Value]):
    """Attribute for a value, or for the claim of a large value. Only a claim has the field `key`."""

    def __init__(self) -> None:
        super().__init__(Value)

    def deserialize(self, value: Item) -> Value:
        return convert(plain({MAP: value}), Claim if "key" in value else Value)


class WakeIndex(GlobalSecondaryIndex[Any]):
    """Index of what is due, by shard of the origin. An item without `wake_at` is not in it."""

    class Meta:
        index_name = "wake"
        projection = KeysOnlyProjection()

    wake_shard = UnicodeAttribute(hash_key=True)
    wake_at = IntegerAttribute(range_key=True)


class ExecutionsIndex(GlobalSecondaryIndex[Any]):
    """Index of roots by state and age, and of schedules, for searches. Local steps are not in it."""

    class Meta:
        index_name = "executions"
        projection = KeysOnlyProjection()

    execution_state = UnicodeAttribute(hash_key=True)
    created_at = IntegerAttribute(range_key=True)


class _TableModel(Model):
    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)


class PromiseModel(_TableModel):
    """Item of a promise: the fields of a `Record`, and what only the table needs.

    `token` names the write that made this image. `effects` counts the effects that the dispatcher has to carry out. The
    stream's filter drops an image without `effects`.
    """

    id = UnicodeAttribute()
    state = UnicodeAttribute()
    timeout_at = IntegerAttribute()
    created_at = IntegerAttribute()
    param = ValueAttribute()
    value = ValueAttribute()
    tags = TextMapAttribute()
    settled_at = IntegerAttribute(null=True)
    task = StructAttribute(TaskRecord, null=True)
    callbacks = IntegerMapAttribute()
    listeners = IntegerMapAttribute()
    delivered = BooleanAttribute()
    wake_at = IntegerAttribute(null=True)
    written_at = IntegerAttribute()
    rev = IntegerAttribute()

    token = UnicodeAttribute(null=True)
    effects = IntegerAttribute(null=True)
    wake_shard = UnicodeAttribute(null=True)
    execution_state = UnicodeAttribute(null=True)

    wake = WakeIndex()
    executions = ExecutionsIndex()


class ScheduleModel(_TableModel):
    """Item of a schedule: the fields of a `ScheduleRecord`, and what only the table needs."""

    id = UnicodeAttribute()
    cron = UnicodeAttribute()
    promise_id = UnicodeAttribute()
    promise_timeout = IntegerAttribute()
    created_at = IntegerAttribute()
    next_run_at = IntegerAttribute()
    promise_param = StructAttribute(Value)
    promise_tags = TextMapAttribute()
    last_run_at = IntegerAttribute(null=True)
    timezone = UnicodeAttribute(null=True)
    catch_up = UnicodeAttribute()
    overlap = UnicodeAttribute()
    paused = BooleanAttribute()
    description = UnicodeAttribute(null=True)
    tags = TextMapAttribute()
    last_promise = UnicodeAttribute(null=True)
    skipped_at = IntegerAttribute(null=True)
    skip_reason = UnicodeAttribute(null=True)
    wake_at = IntegerAttribute(null=True)
    written_at = IntegerAttribute()
    rev = IntegerAttribute()

    token = UnicodeAttribute(null=True)
    effects = IntegerAttribute(null=True)
    wake_shard = UnicodeAttribute(null=True)
    execution_state = UnicodeAttribute()

    wake = WakeIndex()
    executions = ExecutionsIndex()


class ExpiryModel(_TableModel):
    """Item of a retention marker. After DynamoDB has removed it at `expire_at`, the dispatcher deletes the tree."""

    expire_at = TTLAttribute()
    created_at = IntegerAttribute()


class Expiry(NamedTuple):
    """A retention marker: the root `id`, in the life that began at `created_at` (ms)."""

    id: str
    created_at: int


def table_key(key: Key) -> Item:
    """Return the key of an entry's item. Both parts follow from the id alone (docs/rules.md D1)."""
    kind, id = key
    if kind == "schedule":
        return {"pk": {STRING: f"s#{id}"}, "sk": {STRING: _SCHEDULE_SK}}
    return {"pk": {STRING: f"p#{origin(id)}"}, "sk": {STRING: f"{depth(id)}#{id}"}}


def key_in(item: AnyItem) -> Key:
    """Return the key of the entry that an item belongs to. The item needs only `pk` and `sk`."""
    sk: str = item["sk"][STRING]
    if sk == _SCHEDULE_SK:
        return "schedule", item["pk"][STRING].removeprefix("s#")
    return "promise", sk.partition("#")[2]


def depth_prefix(id: str, below: int, separator: str = ".") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the partition key, and the prefix of the sort keys, of the records `below` levels under `id`.

    `separator` separates the first of these levels from `id` (see `ids`).
    """
    return {STRING: f"p#{origin(id)}"}, {STRING: f"{depth(id) + below}#{id}{separator}"}


def execution_state(state: PromiseState | Literal["schedule"], shard: int) -> str:
    """Return the partition of the index `executions` for roots in a state, or for schedules, of one shard."""
    return f"{state}#{shard}"


def halted_shard(shard: int) -> str:
    """Return the partition of the index `wake` for the halted tasks of one shard, so that they can be counted."""
    return f"halted#{shard}"


def item_of(entry: Entry, *, token: str | None = None, effects: int = 0, shards: int = SHARDS) -> Item:
    """Return the item of an entry.

    Args:
        entry: the entry to store.
        token: names the write, so that a repetition of the same call is recognised.
        effects: how many effects of the write the dispatcher has to carry out.
        shards: how many partitions each index has.
    """
    key = table_key(key_of(entry))
    place = shard(entry.id, shards)
    wake_at = entry.wake_at
    if isinstance(entry, Record) and (_unconfirmed(entry.param) or _unconfirmed(entry.value)):
        confirmed_by = entry.written_at + CONFIRMATION_MS
        wake_at = confirmed_by if wake_at is None else min(wake_at, confirmed_by)
    fields: dict[str, Any] = {
        **structs.asdict(entry),
        "pk": key["pk"][STRING],
        "sk": key["sk"][STRING],
        "token": token,
        "effects": effects or None,
        "wake_at": wake_at,
        "wake_shard": None if wake_at is None else halted_shard(place) if _halted(entry) else str(place),
    }
    if isinstance(entry, ScheduleRecord):
        return _serialized(ScheduleModel, {**fields, "execution_state": execution_state("schedule", place)})
    fields["execution_state"] = execution_state(entry.state, place) if entry.root else None
    return _serialized(PromiseModel, fields)


def _halted(entry: Entry) -> bool:
    return isinstance(entry, Record) and entry.task is not None and entry.task.state == "halted"


def _unconfirmed(value: Value) -> bool:
    return isinstance(value, Claim) and value.unconfirmed


def is_entry(item: AnyItem) -> bool:
    """Return whether an item is a promise or a schedule. The table has other items too."""
    return item["pk"][STRING][:2] in ("p#", "s#") and not item["sk"][STRING].startswith(_EXPIRY_SK)


def entry_of(item: AnyItem) -> Entry:
    """Return the entry of an item, without the attributes that only the table needs.

    Raises:
        DamagedRecord: the item cannot be read as an entry.
    """
    try:
        if item["sk"][STRING] == _SCHEDULE_SK:
            return ScheduleRecord(**_deserialized(_SCHEDULE_FIELDS, item))
        return Record(**_deserialized(_RECORD_FIELDS, item))
    except (LookupError, TypeError, ValueError, MsgspecError) as error:
        kind, id = key_in(item)
        reason = f"{type(error).__name__}: {error}"
        raise DamagedRecord(f"the record of the {kind} {id!r} is damaged and cannot be read: {reason}") from error


def task_projection() -> dict[str, Any]:
    """Return the arguments of GetItem that read the task of a promise and no values."""
    names = ("sk", "id", "state", "timeout_at", "created_at", "written_at", "task")
    return {
        "ProjectionExpression": ", ".join(f"#{name}" for name in names),
        "ExpressionAttributeNames": {f"#{name}": name for name in names},
    }


def _serialized(model: type[Model], fields: Mapping[str, Any]) -> Item:
    # PynamoDB's own loop without an instance of the model: 10 us instead of 45 us.
    return {
        name: {attribute.attr_type: attribute.serialize(fields[name])}
        for name, attribute in _attributes_of(model).items()
        if fields[name] is not None
    }


def _deserialized(fields: Attributes, item: AnyItem) -> dict[str, Any]:
    return {
        name: attribute.deserialize(item[name][attribute.attr_type])
        for name, attribute in fields.items()
        if name in item
    }


def _attributes_of(model: type[Model]) -> Attributes:
    return cast("Attributes", cast("Any", model).get_attributes())


def _fields_of(model: type[Model], struct: type[Record | ScheduleRecord]) -> Attributes:
    return {field.name: _attributes_of(model)[field.name] for field in structs.fields(struct)}


_RECORD_FIELDS: Final = _fields_of(PromiseModel, Record)
_SCHEDULE_FIELDS: Final = _fields_of(ScheduleModel, ScheduleRecord)


def expiry_item(id: str, created_at: int, expire_at: int) -> Item:
    """Return the item of a root's retention marker.

    Args:
        id: the id of the root.
        created_at: the instant (ms) of its creation, which distinguishes the lives of an id.
        expire_at: the instant (ms) after which the tree may be deleted.
    """
    # DynamoDB expires by whole seconds. Rounded up, so that no tree is deleted early.
    at = datetime.fromtimestamp(-(-expire_at // 1000), tz=UTC)
    return ExpiryModel(f"p#{origin(id)}", f"{_EXPIRY_SK}{id}", created_at=created_at, expire_at=at).serialize()


def expiry_of(item: AnyItem) -> Expiry | None:
    """Return the retention marker of an item, or None if the item is something else."""
    sk: str = item["sk"][STRING]
    if not sk.startswith(_EXPIRY_SK):
        return None
    return Expiry(sk.removeprefix(_EXPIRY_SK), int(item["created_at"][NUMBER]))
