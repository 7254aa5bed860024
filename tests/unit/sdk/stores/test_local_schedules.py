"""Schedules by hand, as SDK 0.6.7 has them (docs/protocol.md 4.5)."""

from __future__ import annotations

from typing import Any

from resonate import Resonate
from resonate.message_sources import LocalMessageSource
from resonate.promises import DurableValue
from resonate.stores import LocalStore
from resonate_store.model.clock import ManualClock
from tests.support.low_level import INVOKE, SOON, refused


def test_schedule_by_hand_from_creation_to_deletion(
    store: LocalStore, clock: ManualClock, source: LocalMessageSource
) -> None:
    keywords: dict[str, Any] = {"ikey": "k", "description": "each minute", "tags": {"t": "1"}}
    param: dict[str, Any] = {"promise_headers": {"h": "1"}, "promise_data": "x", "promise_tags": INVOKE}
    created = store.schedules.create("s", "* * * * *", "{{.id}}.{{.timestamp}}", SOON, **keywords, **param)
    assert created == store.schedules.get("s")
    assert (created.description, created.tags, created.ikey) == ("each minute", {"t": "1"}, "k")
    assert created.promise_param == DurableValue({"h": "1"}, "x")
    assert created.promise_tags == {"resonate:invoke": "poll://any@workers"}
    again = store.schedules.create("s", "0 0 * * *", "x", SOON, ikey="k", promise_tags=INVOKE)
    assert again == created
    for ikey in (None, "other"):
        assert refused(store.schedules.create, "s", "* * * * *", "x", SOON, ikey=ikey, promise_tags=INVOKE) == 40901
    assert refused(store.schedules.create, "t", "never", "x", SOON, promise_tags=INVOKE) == 40000

    at = created.next_runtime
    clock.advance(at - clock.now())
    store.tick()
    assert store.promises.get(f"s.{at}").param.data == "x"
    assert store.schedules.get("s").last_runtime == at
    assert source.next() == {"type": "invoke", "task": {"id": f"__invoke:s.{at}", "counter": 1}}
    created.delete()
    assert refused(store.schedules.get, "s") == refused(store.schedules.delete, "s") == 40401


def test_schedule_of_a_client_keeps_its_key(kept: LocalStore) -> None:
    client = Resonate(store=kept, message_source=kept.message_source("default", "p"))
    tags = {"resonate:target": "poll://any@workers"}
    client.schedules.create("s", "0 0 * * *", "x", SOON, ikey="k", tags={"team": "a"}, promise_tags=tags)

    found = kept.schedules.create("s", "0 0 * * *", "x", SOON, ikey="k", promise_tags=INVOKE)
    assert (found.ikey, found.tags) == ("k", {"team": "a"})
    assert refused(kept.schedules.create, "s", "0 0 * * *", "x", SOON, ikey="other", promise_tags=INVOKE) == 40901
