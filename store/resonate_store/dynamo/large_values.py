"""Large values in S3. The table has a claim in place of each (docs/decisions/0033).

DynamoDB allows 400 KB in an item and bills each KB of it at every write. A value above a threshold is therefore
uploaded before its record is written, under a new key, and the record names the key. Transitions do not depend on it,
and the responses of the store have the value itself.

An interruption never leaves a record without its object:

- An upload is tagged as unclaimed. A lifecycle rule of the bucket deletes objects that keep this tag for days.
- After the record is written, the tag is removed. Until the store knows that, the claim is `unconfirmed`, and the
  record is due for the sweep a minute after each write.
- A deletion puts the tag back, deletes the record, and then deletes the object.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

import msgspec
from msgspec.structs import replace

from resonate_store.dynamo.client import Unavailable
from resonate_store.dynamo.s3 import Bucket, BucketClient, NoSuchObject
from resonate_store.dynamo.writes import TooLarge, only_waits
from resonate_store.interface import StoreError
from resonate_store.machine import Outcome
from resonate_store.machine.effects import Change
from resonate_store.model.ids import Identify, random_id
from resonate_store.model.limits import MAX_VALUE_BYTES, excess, size_of
from resonate_store.model.records import Claim, Entry, PromiseView, Record, Value
from resonate_store.model.requests import Response
from resonate_store.parallel import each
from resonate_store.settings import SettingsError, number_of

THRESHOLD_BYTES: Final = 32 * 1024
"""Values above this size (bytes) are stored in S3. A suspension on 99 promises with smaller values fits into 4 MB."""
LEAST_THRESHOLD_BYTES: Final = 1024
CACHE_BYTES: Final = 16 * 1024 * 1024
"""How many bytes of values a process caches. The object of a key never changes."""
S3_REQUESTS: Final = 8
"""How many requests to S3 run at the same time."""
TAG: Final = ("resonate", "unclaimed")
"""The tag of an upload that no record claims. The bucket's lifecycle rule uses it."""

_MAX_DELETED: Final = 1000
"""The most keys of one DeleteObjects."""

Role = Literal["param", "value"]
_ROLES: Final[tuple[Role, Role]] = ("param", "value")

A = TypeVar("A")
B = TypeVar("B")

logger = logging.getLogger("resonate.store")


class Missing(StoreError):
    """Raised when the object of a claim is missing: its promise is being deleted, or a person deleted the object."""


class Payloads:
    """The large values of one table, in a bucket.

    Args:
        bucket: the name of the bucket.
        prefix: the beginning of all keys. Tables can share a bucket.
        client: a botocore client for S3. None creates one from the environment when it is first used.
        identify: makes the rest of each key.
        threshold_bytes: a larger value is stored in the bucket.
        limit_bytes: a larger value is refused.
        width: how many requests run at the same time.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        *,
        client: BucketClient | None = None,
        identify: Identify = random_id,
        threshold_bytes: int = THRESHOLD_BYTES,
        limit_bytes: int = MAX_VALUE_BYTES,
        width: int = S3_REQUESTS,
    ) -> None:
        self.threshold_bytes = threshold_bytes
        self.limit_bytes = limit_bytes
        self._bucket = Bucket(bucket, client, width)
        self._prefix = prefix
        self._identify = identify
        self._width = width
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, tuple[Value, int]] = OrderedDict()
        self._cached = 0

    @classmethod
    def of(cls, environment: Mapping[str, str], table: str) -> Payloads | None:
        """Return the payloads of a table from environment variables, or None if no bucket is named.

        `RESONATE_BUCKET` is the name of the bucket. `RESONATE_PAYLOAD_THRESHOLD` and `RESONATE_PAYLOAD_LIMIT` are sizes
        in bytes. `RESONATE_REQUESTS` is how many requests run at the same time.

        Raises:
            SettingsError: a variable is malformed.
        """
        bucket = environment.get("RESONATE_BUCKET")
        if not bucket:
            return None
        threshold = number_of(environment, "RESONATE_PAYLOAD_THRESHOLD", THRESHOLD_BYTES)
        if threshold < LEAST_THRESHOLD_BYTES:
            least = LEAST_THRESHOLD_BYTES
            raise SettingsError(f"RESONATE_PAYLOAD_THRESHOLD must be at least {least} bytes, got {threshold}")
        limit = number_of(environment, "RESONATE_PAYLOAD_LIMIT", MAX_VALUE_BYTES)
        if limit < threshold:
            raise SettingsError(
                f"RESONATE_PAYLOAD_LIMIT is {limit} bytes, less than RESONATE_PAYLOAD_THRESHOLD: {threshold}"
            )
        width = number_of(environment, "RESONATE_REQUESTS", S3_REQUESTS)
        return cls(bucket, f"{table}/", threshold_bytes=threshold, limit_bytes=limit, width=width)

    def upload(self, values: Sequence[Value]) -> list[Claim]:
        """Store values, tagged as unclaimed, and return their claims.

        Raises:
            Unavailable, StoreError: S3 does not accept them.
        """
        return self._each(self._upload, values)

    def values(self, claims: Iterable[Claim]) -> dict[str, Value]:
        """Return the values of these claims by key.

        Raises:
            Missing: an object is missing.
            Unavailable, StoreError: S3 does not answer.
        """
        wanted = {claim.key: claim for claim in claims}
        return dict(zip(wanted, self._each(self._value, list(wanted.values())), strict=True))

    def confirm(self, keys: Collection[str]) -> list[str]:
        """Remove the tag from these objects, because a stored record claims them.

        Returns:
            The keys of the objects that do not exist.
        """
        return [key for key, found in zip(keys, self._each(self._untag, list(keys)), strict=True) if not found]

    def restore(self, claim: Claim, value: Value) -> None:
        """Store the value of a claim again, without a tag."""
        self._put(claim.key, msgspec.json.encode(value), {})

    def disclaim(self, keys: Collection[str]) -> None:
        """Tag these objects as unclaimed, because the records that claim them will be deleted."""
        self._each(self._tag, list(keys))

    def delete(self, keys: Collection[str]) -> None:
        """Delete objects that no record claims."""
        ordered = list(keys)
        for start in range(0, len(ordered), _MAX_DELETED):
            objects = [{"Key": key} for key in ordered[start : start + _MAX_DELETED]]
            answer = self._bucket.call("delete_objects", Delete={"Objects": objects, "Quiet": True})
            for error in answer.get("Errors", []):
                raise Unavailable(f"S3 did not delete {error.get('Key')}: {error.get('Code')}: {error.get('Message')}")

    # Operations on one object

    def _upload(self, value: Value) -> Claim:
        body = msgspec.json.encode(value)
        claim = Claim(key=f"{self._prefix}{self._identify()}", size=len(body), unconfirmed=True)
        self._put(claim.key, body, {"Tagging": "=".join(TAG)})
        self._remember(claim.key, value, len(body))
        return claim

    def _put(self, key: str, body: bytes, more: Mapping[str, Any]) -> None:
        self._bucket.call("put_object", Key=key, Body=body, ContentType="application/json", **more)

    def _value(self, claim: Claim) -> Value:
        with self._lock:
            if claim.key in self._cache:
                self._cache.move_to_end(claim.key)
                return self._cache[claim.key][0]
        try:
            body = self._bucket.call("get_object", Key=claim.key)["Body"].read()
        except NoSuchObject as error:
            raise Missing(
                f"{error}: the promise that claims it is being deleted, or the object was removed by hand"
            ) from error
        value = msgspec.json.decode(body, type=Value)
        self._remember(claim.key, value, len(body))
        return value

    def _untag(self, key: str) -> bool:
        try:
            self._bucket.call("delete_object_tagging", Key=key)
        except NoSuchObject:
            return False
        return True

    def _tag(self, key: str) -> None:
        name, value = TAG
        try:
            self._bucket.call("put_object_tagging", Key=key, Tagging={"TagSet": [{"Key": name, "Value": value}]})
        except NoSuchObject:
            logger.debug("%s is already deleted", key)

    def _remember(self, key: str, value: Value, size: int) -> None:
        with self._lock:
            _, before = self._cache.pop(key, (None, 0))
            self._cache[key] = (value, size)
            self._cached += size - before
            while self._cached > CACHE_BYTES:
                _, (_, dropped) = self._cache.popitem(last=False)
                self._cached -= dropped

    def _each(self, function: Callable[[A], B], items: Sequence[A]) -> list[B]:
        return each(function, items, self._width)


class Uploads:
    """The large values of one operation. Each is uploaded once, even if the operation is tried several times.

    Args:
        payloads: where large values are stored. None keeps all values in the table.
    """

    def __init__(self, payloads: Payloads | None) -> None:
        self._payloads = payloads
        self._claims: dict[tuple[str, Role], tuple[Value, Claim]] = {}

    def offloaded(self, outcome: Outcome) -> Outcome:
        """Upload the large values of an outcome and return the outcome with claims in their place.

        It also confirms claims that an earlier write left unconfirmed.

        Raises:
            TooLarge: a value is above the limit.
            Unavailable, StoreError: S3 does not accept them.
        """
        payloads = self._payloads
        if payloads is None:
            return outcome
        self._upload(payloads, outcome)
        stale = {
            claim.key
            for change in outcome.changes
            for claim in claims_in(change.after)
            if claim.unconfirmed and not _unwritten(change)
        }
        if stale:
            for key in payloads.confirm(stale):
                logger.error("a record claims %s, which does not exist", key)
        elif not self._claims:
            return outcome
        return replace(outcome, changes=tuple(self._claiming(change, stale) for change in outcome.changes))

    def confirmed(self, outcome: Outcome) -> Outcome:
        """Return a written outcome with its claims confirmed. If the confirmation fails, the sweep repeats it."""
        payloads = self._payloads
        mine = {claim.key: (value, claim) for value, claim in self._claims.values()}
        written = {claim.key for change in outcome.changes for claim in claims_in(change.after)} & mine.keys()
        if payloads is None or not written:
            return outcome
        try:
            for key in payloads.confirm(written):
                # The process stopped for days, so the lifecycle rule deleted the unclaimed object.
                value, claim = mine[key]
                payloads.restore(claim, value)
        except StoreError as error:
            logger.warning("the sweep will confirm the claims: %s", error)
            return outcome
        return replace(outcome, changes=tuple(_confirmed(change, written) for change in outcome.changes))

    def _upload(self, payloads: Payloads, outcome: Outcome) -> None:
        large: dict[tuple[str, Role], Value] = {}
        for change in outcome.changes:
            after = change.after
            if not isinstance(after, Record):
                continue
            for role in _ROLES:
                value: Value = getattr(after, role)
                size = size_of(value)
                if size <= payloads.threshold_bytes or self._known(after.id, role, value) is not None:
                    continue
                if problem := excess(after.id, role, value, payloads.limit_bytes):
                    raise TooLarge(problem)
                large[after.id, role] = value
        for place, claim in zip(large, payloads.upload(list(large.values())), strict=True):
            self._claims[place] = (large[place], claim)

    def _known(self, id: str, role: Role, value: Value) -> Claim | None:
        uploaded, claim = self._claims.get((id, role), (None, None))
        return claim if uploaded is value else None

    def _claiming(self, change: Change, stale: Collection[str]) -> Change:
        before, after = _confirmed(change, stale)
        if not isinstance(after, Record):
            return change
        claims = {role: self._known(after.id, role, getattr(after, role)) for role in _ROLES}
        return Change(before, replace(after, **{role: claim for role, claim in claims.items() if claim is not None}))


def outdated_claims(outcome: Outcome) -> list[str]:
    """Return the keys of the large values that an outcome replaces."""
    return [
        claim.key
        for before, after in outcome.changes
        if after is not None
        for claim in claims_in(before)
        if claim.key not in {each.key for each in claims_in(after)}
    ]


def claims_in(entry: Entry | PromiseView | None) -> Iterator[Claim]:
    """Yield the claims of a record or a promise."""
    if isinstance(entry, (Record, PromiseView)):
        for value in (entry.param, entry.value):
            if isinstance(value, Claim):
                yield value


def promises_in(response: Response) -> Iterator[PromiseView]:
    """Yield the promises of a response."""
    if response.promise is not None:
        yield response.promise
    yield from response.preload
    yield from response.promises or ()


def with_values(promise: PromiseView, values: Mapping[str, Value]) -> PromiseView:
    """Return the promise with values in place of its claims. `values` maps keys to values."""
    found = {
        role: values[value.key]
        for role in _ROLES
        if isinstance(value := getattr(promise, role), Claim) and value.key in values
    }
    return replace(promise, **found) if found else promise


def response_with_values(response: Response, values: Mapping[str, Value]) -> Response:
    """Return the response with values in place of its claims. `values` maps keys to values."""
    changes: dict[str, Any] = {}
    if response.promise is not None:
        changes["promise"] = with_values(response.promise, values)
    if response.preload:
        changes["preload"] = tuple(with_values(promise, values) for promise in response.preload)
    if response.promises is not None:
        changes["promises"] = tuple(with_values(promise, values) for promise in response.promises)
    return replace(response, **changes)


def _confirmed(change: Change, keys: Collection[str]) -> Change:
    before, after = change
    if not isinstance(after, Record):
        return change
    roles = {
        role: replace(value, unconfirmed=False)
        for role in _ROLES
        if isinstance(value := getattr(after, role), Claim) and value.key in keys
    }
    return Change(before, replace(after, **roles)) if roles else change


def _unwritten(change: Change) -> bool:
    """Return whether the write does not store the values, because it only adds callbacks or listeners."""
    before, after = change
    return isinstance(before, Record) and isinstance(after, Record) and only_waits(before, after)
