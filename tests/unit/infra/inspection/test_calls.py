"""Calls of functions. `test_invocation` and `test_schedules` compare them with those of the SDK."""

from __future__ import annotations

from resonate_infra.inspection.calls import call
from resonate_infra.inspection.texts import payload
from resonate_store.model.addresses import expand


def test_call_has_function_arguments_version_and_target() -> None:
    param, tags = call("order", ["1", '"a"'], ["x=null"], 3, "worker", {"mine": "1"})

    assert payload(param, raw=False)["data"] == {"func": "order", "args": [1, "a"], "kwargs": {"x": None}, "version": 3}
    ours = {"resonate:scope": "global", "resonate:target": expand("worker"), "resonate:func": "order"}
    assert tags == {"mine": "1", **ours}
    _, tags = call("order", [], [], 1, "https://a.example/x", {"resonate:func": "other", "resonate:target": "other"})
    assert (tags["resonate:func"], tags["resonate:target"]) == ("order", "https://a.example/x")
