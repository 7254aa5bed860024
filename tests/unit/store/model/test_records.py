from __future__ import annotations

import pytest

from resonate_store.model.records import Record
from resonate_store.model.tags import ORIGIN, PARENT


def test_record_without_a_chain_to_its_origin_is_a_root(subtests: pytest.Subtests) -> None:
    for id, origin, parent, is_root in [
        ("a", "a", "a", True),
        ("a.1", "a", "a", False),
        ("a.1.2", "a", None, False),
        ("a:1", "a", None, False),
        ("a:b", "a", None, True),  # a colon before anything but a number is a part of the name
        ("ab", "a", None, True),
        ("report", "a", "a.1", True),  # what an official client creates for a call with an id
        ("report.1", "a", "report", False),
        ("report:1.2", "a", "report:1", False),
        ("report.1", "a", None, True),
    ]:
        with subtests.test(id=id, origin=origin, parent=parent, is_root=is_root):
            tags = {ORIGIN: origin} | ({PARENT: parent} if parent else {})
            assert Record(id, "pending", 2, 1, tags=tags).root is is_root
