"""Arguments of the wrong type are refused by name, wherever promises and schedules are handled by hand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from resonate import Resonate
from resonate.promises import Promises
from resonate.stores import LocalStore
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock

T = 2**50
INSTANT = "timeout must be `int`, the instant in milliseconds since the epoch, got"
LIFE = "promise_timeout must be `int`, milliseconds that each promise has, got"
DATA = "data must be `str`, for example JSON, got"

PROMISES: list[tuple[Callable[[Any], Any], str]] = [
    (lambda promises: promises.get(5), "id must be `str`, got int"),
    (lambda promises: promises.create(None, T), "id must be `str`, got NoneType"),
    (lambda promises: promises.create("c", "soon"), f"{INSTANT} str"),
    (lambda promises: promises.create("c", timeout=30.5), f"{INSTANT} float"),
    (lambda promises: promises.create("c", float(T)), f"{INSTANT} float"),
    (lambda promises: promises.create("c", True), f"{INSTANT} bool"),
    (lambda promises: promises.create("c", T, data={"a": 1}), f"{DATA} dict"),
    (lambda promises: promises.create("c", T, data=b"1"), f"{DATA} bytes"),
    (lambda promises: promises.create("c", T, headers={"a": 1}), "headers must map `str` to `str`, got 'a': 1"),
    (lambda promises: promises.create("c", T, tags={1: 2}), "tags must map `str` to `str`, got 1: 2"),
    (lambda promises: promises.create("c", T, tags=["a"]), "tags must be `dict`, got list"),
    (lambda promises: promises.create("c", T, ikey=5), "ikey must be `str`, got int"),
    *(
        case
        for call in ("resolve", "reject", "cancel")
        for case in (
            (lambda promises, call=call: getattr(promises, call)(5), "id must be `str`, got int"),
            (lambda promises, call=call: getattr(promises, call)("p", data=5), f"{DATA} int"),
            (lambda promises, call=call: getattr(promises, call)("p", headers="x"), "headers must be `dict`, got str"),
            (lambda promises, call=call: getattr(promises, call)("p", ikey=b"k"), "ikey must be `str`, got bytes"),
            (lambda promises, call=call: getattr(promises.get("p"), call)({}), f"{DATA} dict"),
        )
    ),
]
SCHEDULES: list[tuple[Callable[[Any], Any], str]] = [
    (lambda schedules: schedules.get(5), "id must be `str`, got int"),
    (lambda schedules: schedules.delete(None), "id must be `str`, got NoneType"),
    (lambda schedules: schedules.create(5, "@daily", "x", 1), "id must be `str`, got int"),
    (lambda schedules: schedules.create("s", 5, "x", 1), "cron must be `str`, got int"),
    (lambda schedules: schedules.create("s", "@daily", 5, 1), "promise_id must be `str`, got int"),
    (lambda schedules: schedules.create("s", "@daily", "x", 1.5), f"{LIFE} float"),
    (lambda schedules: schedules.create("s", "@daily", "x", 1, ikey=5), "ikey must be `str`, got int"),
    (lambda schedules: schedules.create("s", "@daily", "x", 1, description=5), "description must be `str`, got int"),
    (lambda schedules: schedules.create("s", "@daily", "x", 1, tags={1: "a"}), "tags must map `str` to `str`, got 1"),
    (lambda schedules: schedules.create("s", "@daily", "x", 1, promise_tags="a"), "promise_tags must be `dict`, got"),
    (lambda schedules: schedules.create("s", "@daily", "x", 1, promise_data={}), f"promise_{DATA} dict"),
    (lambda schedules: schedules.create("s", "@daily", "x", 1, promise_headers=[]), "promise_headers must be `dict`"),
]
MORE_SCHEDULES: list[tuple[Callable[[Any], Any], str]] = [
    *(
        (lambda schedules, call=call: getattr(schedules, call)(5), "id must be `str`, got int")
        for call in ("pause", "resume", "trigger", "next_runs")
    ),
    *(
        (lambda schedules, name=name: schedules.create("s", "@daily", **{name: 5}), f"{name} must be `str`, got int")
        for name in ("timezone", "catch_up", "overlap")
    ),
]
LOCAL: list[tuple[Callable[[LocalStore], Any], str]] = [
    (lambda store: store.promises.create_with_task(5, T, "p", 1), "id must be `str`, got int"),  # type: ignore[arg-type]
    (lambda store: store.promises.create_with_task("c", T, 5, 1), "pid must be `str`, got int"),  # type: ignore[arg-type]
    (lambda store: store.promises.create_with_task("c", T, "p", 1.5), "ttl must be `int`, in milliseconds, got float"),  # type: ignore[arg-type]
    (lambda store: store.promises.callback(5, "p", "r", T), "promise_id must be `str`, got int"),  # type: ignore[arg-type]
    (lambda store: store.promises.callback("p", 5, "r", T), "root_promise_id must be `str`, got int"),  # type: ignore[arg-type]
    (lambda store: store.promises.subscribe("s", "p", 5, T), "recv must be `str`, got int"),  # type: ignore[arg-type]
    (lambda store: store.tasks.claim(5, 1, "p", 1), "id must be `str`, got int"),  # type: ignore[arg-type]
]  # fmt: skip


@pytest.fixture
def resonate() -> Iterator[Resonate]:
    resonate = Resonate(store=MemoryStore(ManualClock()))
    yield resonate
    resonate.stop()


@pytest.fixture
def local() -> LocalStore:
    return LocalStore(clock=ManualClock())


def refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError) as caught:
        call()
    assert str(caught.value).startswith(message)


def test_promises_by_hand_refuse_wrong_types_by_name(
    resonate: Resonate, local: LocalStore, subtests: pytest.Subtests
) -> None:
    for promises in (resonate.promises, local.promises):
        promises.create("p", T)
        for call, message in PROMISES:
            with subtests.test(message, of=type(promises).__module__):
                refused(lambda call=call, promises=promises: call(promises), message)
                assert promises.get("p").pending
    for call, message in LOCAL:
        with subtests.test(message):
            refused(lambda call=call: call(local), message)


def test_schedules_by_hand_refuse_wrong_types_by_name(
    resonate: Resonate, local: LocalStore, subtests: pytest.Subtests
) -> None:
    for schedules, cases in ((resonate.schedules, SCHEDULES + MORE_SCHEDULES), (local.schedules, SCHEDULES)):
        for call, message in cases:
            with subtests.test(message, of=type(schedules).__module__):
                refused(lambda call=call, schedules=schedules: call(schedules), message)


def test_client_and_handle_refuse_wrong_types_by_name(resonate: Resonate, subtests: pytest.Subtests) -> None:
    refused(lambda: resonate.get(5), "id must be `str`, got int")  # type: ignore[arg-type]
    resonate.promises.create("p", T)
    handle = resonate.get("p")
    refused(lambda: handle.result("soon"), "timeout must be `int or float`, in seconds, got str")  # type: ignore[arg-type]
    for name in ("ttl", "workers", "log_level"):
        wrong: dict[str, Any] = {name: True}
        with subtests.test(name):
            refused(lambda wrong=wrong: Resonate(**wrong), f"{name} must be `int")


def test_promise_timeout_that_looks_like_seconds_is_logged(
    caplog: pytest.LogCaptureFixture, subtests: pytest.Subtests
) -> None:
    caplog.set_level(logging.WARNING, "resonate")
    for timeout, logged in ((0, False), (30_000, True), (1_750_000_000, True), (1_000_000_000_000, False)):
        with subtests.test(timeout=timeout):
            caplog.clear()
            promise = Promises(MemoryStore(ManualClock(1_750_000_000_000))).create("c", timeout)
            assert promise.timedout
            assert ("promise c has timed out at once" in caplog.text) == logged
