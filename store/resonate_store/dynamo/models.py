"""PynamoDB models of the items: the definition of the table, its indexes and its expiry (docs/rules.md D1).

They are for programs that look at a table. Such a program derives a model of its own, with the table's name in `Meta`
(docs/operate.md). The store does not use them: it has the same attributes in `items`, and PynamoDB cannot return the
old image of a failed write.
"""

from __future__ import annotations

from typing import Any

from pynamodb.attributes import Attribute, BooleanAttribute, TTLAttribute, UnicodeAttribute
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection
from pynamodb.models import Model

from resonate_store.dynamo.items import (
    CANCELLATION,
    INBOX,
    INTEGER,
    INTEGER_MAP,
    TASK,
    TEXT_MAP,
    VALUE,
    VALUE_OR_CLAIM,
    FieldType,
)


class StoredAttribute(Attribute[Any]):
    """Attribute that is stored as `items` says, because a round trip must be exact.

    PynamoDB's map takes its entries as keyword arguments, so a tag named `self` breaks it. Its numbers are floats.
    """

    def __init__(self, type: FieldType, *, null: bool = False, range_key: bool = False) -> None:
        super().__init__(null=null, range_key=range_key)
        self.attr_type = type.kind
        self._type = type

    def serialize(self, value: Any) -> Any:
        return self._type.write(value)

    def deserialize(self, value: Any) -> Any:
        return self._type.read(value)


class WakeIndex(GlobalSecondaryIndex[Any]):
    """Index of what is due, by shard of the origin. An item without `wake_at` is not in it."""

    class Meta:
        index_name = "wake"
        projection = KeysOnlyProjection()

    wake_shard = UnicodeAttribute(hash_key=True)
    wake_at = StoredAttribute(INTEGER, range_key=True)


class ExecutionsIndex(GlobalSecondaryIndex[Any]):
    """Index of roots by state and age, and of schedules, for searches. Local steps are not in it."""

    class Meta:
        index_name = "executions"
        projection = KeysOnlyProjection()

    execution_state = UnicodeAttribute(hash_key=True)
    created_at = StoredAttribute(INTEGER, range_key=True)


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
    timeout_at = StoredAttribute(INTEGER)
    created_at = StoredAttribute(INTEGER)
    param = StoredAttribute(VALUE_OR_CLAIM)
    value = StoredAttribute(VALUE_OR_CLAIM)
    tags = StoredAttribute(TEXT_MAP)
    settled_at = StoredAttribute(INTEGER, null=True)
    task = StoredAttribute(TASK, null=True)
    callbacks = StoredAttribute(INTEGER_MAP)
    listeners = StoredAttribute(INTEGER_MAP)
    delivered = BooleanAttribute()
    cancel = StoredAttribute(CANCELLATION, null=True)
    wake_at = StoredAttribute(INTEGER, null=True)
    written_at = StoredAttribute(INTEGER)
    rev = StoredAttribute(INTEGER)
    generation = StoredAttribute(INTEGER, null=True)
    inbox = StoredAttribute(INBOX, null=True)
    pinned = UnicodeAttribute(null=True)

    token = UnicodeAttribute(null=True)
    effects = StoredAttribute(INTEGER, null=True)
    wake_shard = UnicodeAttribute(null=True)
    execution_state = UnicodeAttribute(null=True)

    wake = WakeIndex()
    executions = ExecutionsIndex()


class ScheduleModel(_TableModel):
    """Item of a schedule: the fields of a `ScheduleRecord`, and what only the table needs."""

    id = UnicodeAttribute()
    cron = UnicodeAttribute()
    promise_id = UnicodeAttribute()
    promise_timeout = StoredAttribute(INTEGER)
    created_at = StoredAttribute(INTEGER)
    next_run_at = StoredAttribute(INTEGER)
    promise_param = StoredAttribute(VALUE)
    promise_tags = StoredAttribute(TEXT_MAP)
    last_run_at = StoredAttribute(INTEGER, null=True)
    timezone = UnicodeAttribute(null=True)
    catch_up = UnicodeAttribute()
    overlap = UnicodeAttribute()
    paused = BooleanAttribute()
    description = UnicodeAttribute(null=True)
    tags = StoredAttribute(TEXT_MAP)
    last_promise = UnicodeAttribute(null=True)
    skipped_at = StoredAttribute(INTEGER, null=True)
    skip_reason = UnicodeAttribute(null=True)
    wake_at = StoredAttribute(INTEGER, null=True)
    written_at = StoredAttribute(INTEGER)
    rev = StoredAttribute(INTEGER)

    token = UnicodeAttribute(null=True)
    effects = StoredAttribute(INTEGER, null=True)
    wake_shard = UnicodeAttribute(null=True)
    execution_state = UnicodeAttribute()

    wake = WakeIndex()
    executions = ExecutionsIndex()


class ExpiryModel(_TableModel):
    """Item of a retention marker. After DynamoDB has removed it at `expire_at`, the dispatcher deletes the tree."""

    expire_at = TTLAttribute()
    created_at = StoredAttribute(INTEGER)
