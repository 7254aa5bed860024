"""Calls of functions. `test_invocation` and `test_schedules` compare them with those of the SDK."""

from __future__ import annotations

from resonate_infra.cli.calls import call, lineage
from resonate_infra.cli.display import payload
from resonate_store.model.addresses import expand


def test_call_has_function_arguments_version_and_target() -> None:
    param, tags = call("order", ["1", '"a"'], ["x=null"], 3, "worker", {"mine": "1"})

    assert payload(param, raw=False)["data"] == {"func": "order", "args": [1, "a"], "kwargs": {"x": None}, "version": 3}
    assert tags == {
        "mine": "1",
        "resonate:scope": "global",
        "resonate:target": expand("worker"),
        "resonate:func": "order",
    }


def test_call_keeps_an_address_and_overrides_given_tags() -> None:
    _, tags = call("order", [], [], 1, "https://a.example/x", {"resonate:func": "other", "resonate:target": "other"})

    assert (tags["resonate:func"], tags["resonate:target"]) == ("order", "https://a.example/x")


def test_lineage_of_a_root_is_its_own_id() -> None:
    assert lineage("a") == dict.fromkeys(
        ("resonate:origin", "resonate:branch", "resonate:parent", "resonate:prefix"), "a"
    )
