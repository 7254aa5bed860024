"""Names that SDK 0.6.7 has for tags and receivers of the protocol."""

from __future__ import annotations

from resonate_store.model.addresses import expand
from resonate_store.model.tags import ORIGIN, TARGET, TIMER

_TAGS = {"resonate:invoke": TARGET, "resonate:timeout": TIMER, "resonate:root": ORIGIN}
_LEGACY_TAGS = {tag: legacy for legacy, tag in _TAGS.items()}


def protocol_tags(tags: dict[str, str]) -> dict[str, str]:
    """Return tags of a program of SDK 0.6.7 as records hold them, with an address as the target."""
    stored = {_TAGS.get(tag, tag): text for tag, text in tags.items()}
    if TARGET in stored:
        stored[TARGET] = address_of(stored[TARGET])
    return stored


def legacy_tags(tags: dict[str, str]) -> dict[str, str]:
    """Return the tags of a record as a program of SDK 0.6.7 expects them."""
    return {_LEGACY_TAGS.get(tag, tag): text for tag, text in tags.items()}


def address_of(receiver: str) -> str:
    """Return the address of a receiver of SDK 0.6.7: a group, `local://...`, or `poll://group/id` without a cast."""
    address = expand(receiver)
    if address.startswith("local://"):
        address = f"poll://{address.removeprefix('local://')}"
    if address.startswith("poll://") and "@" not in address:
        address = f"poll://any@{address.removeprefix('poll://')}"
    return address
