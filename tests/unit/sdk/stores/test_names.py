"""SDK 0.6.7's names of tags and receivers."""

from __future__ import annotations

from resonate.stores.names import address_of, legacy_tags, protocol_tags
from resonate_store.model.tags import ORIGIN, TARGET, TIMER


def test_tags_of_0_6_7_are_translated_there_and_back() -> None:
    tags = {"resonate:invoke": "workers", "resonate:timeout": "true", "resonate:root": "r", "mine": "x"}
    stored = protocol_tags(tags)

    assert stored == {TARGET: "poll://any@workers", TIMER: "true", ORIGIN: "r", "mine": "x"}
    assert legacy_tags(stored) == {**tags, "resonate:invoke": "poll://any@workers"}


def test_receiver_of_0_6_7_is_an_address() -> None:
    addresses = {
        "workers": "poll://any@workers",
        "poll://workers/me": "poll://any@workers/me",
        "local://any@workers": "poll://any@workers",
        "local://uni@workers/me": "poll://uni@workers/me",
        "https://worker.test": "https://worker.test",
    }
    assert {receiver: address_of(receiver) for receiver in addresses} == addresses
