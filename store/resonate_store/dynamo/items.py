"""Items of the table: keys, and how each attribute is stored (docs/rules.md D1).

`models` is the definition of the table. Reading it takes PynamoDB, which a worker does not load: this module has the
same attributes as plain tables, and a test compares the two. Search, deletion, the conditions of writes and the filters
of the stream name attributes as well. An attribute that is renamed here must be renamed there too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple, cast

from msgspec import MsgspecError, convert, structs, to_builtins

from resonate_store.interface import DamagedRecord
from resonate_store.model.ids import depth, origin, shard
from resonate_store.model.records import (
    Cancellation,
    Claim,
    Entry,
    Inbox,
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
STRING, NUMBER, BOOLEAN, MAP, LIST = "S", "N", "BOOL", "M", "L"
"""DynamoDB's types."""

SHARDS: Final = 8
"""How many partitions each index has. If it is changed, due items in the old partitions are not found any more."""

CONFIRMATION_MS: Final = 60_000
"""How long (ms) a claim may stay unconfirmed before the sweep confirms it."""

_SCHEDULE_SK: Final = "schedule"
_EXPIRY_SK: Final = "expiry#"


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


class FieldType(NamedTuple):
    """How an attribute is stored.

    Attributes:
        kind: the type in DynamoDB.
        write: returns the content in DynamoDB's format.
        read: returns the value of such content.
    """

    kind: str
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def _struct(struct: type[Any]) -> FieldType:
    """Return the type of a msgspec struct, as a map of its fields without defaults."""

    def write(value: Any) -> Item:
        return typed(to_builtins(value))[MAP]

    def read(content: Item) -> Any:
        return convert(plain({MAP: content}), struct)

    return FieldType(MAP, write, read)


def _value_of(content: Item) -> Value:
    """Return a value, or the claim of a large value. Only a claim has the field `key`."""
    return convert(plain({MAP: content}), Claim if "key" in content else Value)


def _write_texts(value: dict[str, str]) -> Item:
    return {key: {STRING: text} for key, text in value.items()}


def _read_texts(content: Item) -> dict[str, str]:
    return {key: text[STRING] for key, text in content.items()}


def _write_integers(value: dict[str, int]) -> Item:
    return {key: {NUMBER: str(number)} for key, number in value.items()}


def _read_integers(content: Item) -> dict[str, int]:
    return {key: int(number[NUMBER]) for key, number in content.items()}


TEXT: Final = FieldType(STRING, _same, _same)
FLAG: Final = FieldType(BOOLEAN, _same, _same)
INTEGER: Final = FieldType(NUMBER, str, int)
"""An instant, a duration or a counter."""
TEXT_MAP: Final = FieldType(MAP, _write_texts, _read_texts)
INTEGER_MAP: Final = FieldType(MAP, _write_integers, _read_integers)
"""An empty map is stored, so that an update can add an entry."""
VALUE: Final = _struct(Value)
TASK: Final = _struct(TaskRecord)
CANCELLATION: Final = _struct(Cancellation)
INBOX: Final = _struct(Inbox)
VALUE_OR_CLAIM: Final = FieldType(MAP, VALUE.write, _value_of)

_RECORD_FIELDS: Final = {
    "id": TEXT,
    "state": TEXT,
    "timeout_at": INTEGER,
    "created_at": INTEGER,
    "param": VALUE_OR_CLAIM,
    "value": VALUE_OR_CLAIM,
    "tags": TEXT_MAP,
    "settled_at": INTEGER,
    "task": TASK,
    "callbacks": INTEGER_MAP,
    "listeners": INTEGER_MAP,
    "delivered": FLAG,
    "cancel": CANCELLATION,
    "wake_at": INTEGER,
    "written_at": INTEGER,
    "rev": INTEGER,
    "generation": INTEGER,
    "inbox": INBOX,
    "pinned": TEXT,
}
_SCHEDULE_FIELDS: Final = {
    "id": TEXT,
    "cron": TEXT,
    "promise_id": TEXT,
    "promise_timeout": INTEGER,
    "created_at": INTEGER,
    "next_run_at": INTEGER,
    "promise_param": VALUE,
    "promise_tags": TEXT_MAP,
    "last_run_at": INTEGER,
    "timezone": TEXT,
    "catch_up": TEXT,
    "overlap": TEXT,
    "paused": FLAG,
    "description": TEXT,
    "tags": TEXT_MAP,
    "last_promise": TEXT,
    "skipped_at": INTEGER,
    "skip_reason": TEXT,
    "wake_at": INTEGER,
    "written_at": INTEGER,
    "rev": INTEGER,
}
_KEY: Final = {"pk": TEXT, "sk": TEXT}
_TABLE_ONLY: Final = {"token": TEXT, "effects": INTEGER, "wake_shard": TEXT, "execution_state": TEXT}

PROMISE_ITEM: Final = {**_KEY, **_RECORD_FIELDS, **_TABLE_ONLY}
SCHEDULE_ITEM: Final = {**_KEY, **_SCHEDULE_FIELDS, **_TABLE_ONLY}
EXPIRY_ITEM: Final = {**_KEY, "expire_at": INTEGER, "created_at": INTEGER}


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


def ranges_around(id: str, below: int, generation: int) -> list[dict[str, Any]]:
    """Return the conditions of queries for the records `below` levels under `id` that are not of this generation.

    They are two ranges of sort keys, before and after those of the generation. "," follows "+", and "/" follows ".".
    """
    level = f"{depth(id) + below}#{id}"
    ends = (f"{level}.", f"{level}.{generation}+", f"{level}.{generation},", f"{level}/")
    return [
        {
            "KeyConditionExpression": "pk = :pk AND sk BETWEEN :from AND :to",
            "ExpressionAttributeValues": {
                ":pk": {STRING: f"p#{origin(id)}"},
                ":from": {STRING: begin},
                ":to": {STRING: end},
            },
        }
        for begin, end in (ends[:2], ends[2:])
    ]


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
        return _serialized(SCHEDULE_ITEM, {**fields, "execution_state": execution_state("schedule", place)})
    fields["execution_state"] = execution_state(entry.state, place) if entry.root else None
    return _serialized(PROMISE_ITEM, fields)


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
    of_task = ("task", "cancel", "generation", "inbox", "pinned")
    names = ("sk", "id", "state", "timeout_at", "created_at", "written_at", *of_task)
    return {
        "ProjectionExpression": ", ".join(f"#{name}" for name in names),
        "ExpressionAttributeNames": {f"#{name}": name for name in names},
    }


def _serialized(types: Mapping[str, FieldType], fields: Mapping[str, Any]) -> Item:
    return {name: {kind: write(fields[name])} for name, (kind, write, _) in types.items() if fields[name] is not None}


def _deserialized(types: Mapping[str, FieldType], item: AnyItem) -> dict[str, Any]:
    return {name: read(item[name][kind]) for name, (kind, _, read) in types.items() if name in item}


def expiry_item(id: str, created_at: int, expire_at: int) -> Item:
    """Return the item of a root's retention marker.

    Args:
        id: the id of the root.
        created_at: the instant (ms) of its creation, which distinguishes the lives of an id.
        expire_at: the instant (ms) after which the tree may be deleted.
    """
    fields = {
        "pk": f"p#{origin(id)}",
        "sk": f"{_EXPIRY_SK}{id}",
        # DynamoDB expires by whole seconds. Rounded up, so that no tree is deleted early.
        "expire_at": -(-expire_at // 1000),
        "created_at": created_at,
    }
    return _serialized(EXPIRY_ITEM, fields)


def expiry_of(item: AnyItem) -> Expiry | None:
    """Return the retention marker of an item, or None if the item is something else."""
    sk: str = item["sk"][STRING]
    if not sk.startswith(_EXPIRY_SK):
        return None
    return Expiry(sk.removeprefix(_EXPIRY_SK), int(item["created_at"][NUMBER]))
