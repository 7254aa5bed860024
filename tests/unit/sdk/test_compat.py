"""Import paths of SDK 0.6.7, and what is behind those that exist for its programs only."""

from __future__ import annotations

import importlib
import logging
import pickle
import subprocess
import sys
from typing import Any

import pytest

from resonate import Context, Resonate, errors
from resonate.clocks import StepClock
from resonate.conventions.base import Base
from resonate.conventions.local import Local
from resonate.conventions.remote import Remote
from resonate.conventions.sleep import Sleep
from resonate.loggers import ContextLogger, DSTLogger
from resonate.models.clock import Clock
from resonate.models.result import Ko, Ok
from resonate.models.store import Store
from resonate.payloads import codec
from resonate.payloads.rebuild_exceptions import error_of
from resonate.promises import DurableValue
from resonate.stores import LocalStore, RemoteStore
from resonate.workflow.options import Options
from tests.support.driver import Flow

OBJECTS = {
    "clocks.step": "compat.clocks: StepClock",
    "conventions": "compat.conventions: Base Local Remote Sleep",
    "coroutine": "workflow.commands: LFC LFI Promise RFC RFI Yieldable",
    "encoders.base64": "encoders: Base64Encoder",
    "encoders.combined": "encoders: CombinedEncoder",
    "encoders.header": "encoders: HeaderEncoder",
    "encoders.json": "encoders: JsonEncoder",
    "encoders.jsonpickle": "encoders: JsonPickleEncoder",
    "encoders.noop": "encoders: NoopEncoder",
    "encoders.pair": "encoders: PairEncoder",
    "errors.errors": "errors: ResonateCanceledError ResonateError ResonateShutdownError ResonateStoreError"
    " ResonateTimedoutError",
    "loggers.context": "compat.loggers: ContextLogger",
    "loggers.dst": "compat.loggers: DSTLogger",
    "message_sources.local": "message_sources: LocalMessageSource",
    "message_sources.poller": "message_sources: Poller",
    "models.callback": "promises: Callback",
    "models.context": "workflow.context: Context Info",
    "models.durable_promise": "promises: DurablePromise",
    "models.encoder": "encoders: Encoder",
    "models.handle": "client.handle: Handle",
    "models.message_source": "message_sources: MessageSource",
    "models.retry_policy": "retry_policies: RetryPolicy",
    "retry_policies.constant": "retry_policies: Constant",
    "retry_policies.exponential": "retry_policies: Exponential",
    "retry_policies.linear": "retry_policies: Linear",
    "retry_policies.never": "retry_policies: Never",
    "stores.local": "stores: LocalStore",
    "stores.remote": "stores: RemoteStore",
}
"""Import paths of SDK 0.6.7, and where the objects of these names are defined."""
NAMES = {
    "coroutine": ["LFX", "RFX"],
    "models": [],
    "models.convention": ["Convention"],
    "models.logger": ["Logger"],
    "models.message": ["InvokeMesg", "Mesg", "NotifyMesg", "ResumeMesg", "TaskMesg"],
    "models.result": ["Result"],
    "models.schedules": ["Schedule"],
    "models.store": ["PromiseStore", "ScheduleStore", "TaskStore"],
    "models.task": ["Task"],
}


def test_import_path_of_0_6_7_gives_our_object(subtests: pytest.Subtests) -> None:
    for path, found in OBJECTS.items():
        home, _, names = found.partition(": ")
        for name in names.split():
            with subtests.test(path, name=name):
                imported = getattr(importlib.import_module(f"resonate.{path}"), name)
                assert imported is getattr(importlib.import_module(f"resonate.{home}"), name)
    assert importlib.import_module("resonate.models.durable_promise").DurablePromiseValue is DurableValue


def test_import_path_of_0_6_7_has_its_names(subtests: pytest.Subtests) -> None:
    for path, names in NAMES.items():
        with subtests.test(path):
            imported = importlib.import_module(f"resonate.{path}")
            assert [name for name in names if not hasattr(imported, name)] == []


def test_import_of_resonate_loads_no_compatibility_module() -> None:
    script = "import sys, resonate; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    loaded = [name.split(".") for name in printed.stdout.split() if name.startswith("resonate.")]
    assert {name[1] for name in loaded} & {"compat", "models", "clocks", "loggers", "coroutine"} == set()
    single = {"errors", "encoders", "retry_policies", "conventions"}
    inner = [name for name in loaded if name[1] in single and len(name) > 2]
    assert inner == [["resonate", "errors", "mistakes"]]  # which is not of SDK 0.6.7


def test_stored_error_comes_back_by_either_import_path(subtests: pytest.Subtests) -> None:
    for path in ("resonate.errors", "resonate.errors.errors"):
        with subtests.test(path=path):
            error = importlib.import_module(path).ResonateCanceledError("p")
            stored = codec.decode(codec.encode_error(error))

            assert stored["type"] == "resonate.errors:ResonateCanceledError"
            assert type(error_of(stored)) is errors.ResonateCanceledError
            assert type(pickle.loads(pickle.dumps(error))) is errors.ResonateCanceledError


def test_step_clock_is_the_time_of_a_workflow() -> None:
    clock = StepClock()
    clock.step(86_400.5)
    resonate = Resonate.local()
    resonate.set_dependency("resonate:time", clock)

    @resonate.register
    def now(ctx: Context) -> Flow:
        return [(yield ctx.time.time()), (yield ctx.time.strftime("%d %H:%M"))]

    assert isinstance(clock, Clock)
    assert resonate.run("a", now) == [86_400.5, "02 00:00"]
    with pytest.raises(AssertionError):
        clock.step(0)
    resonate.stop()


def test_context_logger_writes_both_ids(caplog: pytest.LogCaptureFixture) -> None:
    clock = StepClock()
    ContextLogger("root", "root.1", "INFO").info("paid %d", 5)
    ContextLogger("root", "root.1", logging.INFO).debug("not written")
    DSTLogger("root", "root.2", clock).error("failed")

    written: list[Any] = caplog.records
    assert [(each.getMessage(), each.cid, each.id) for each in written] == [
        ("paid 5", "root", "root.1"),
        ("failed", "root", "root.2"),
    ]
    assert written[1].time == 0.0


def test_results_are_compared_by_value() -> None:
    error = ValueError()
    assert (Ok(1), Ko(error)) == (Ok(1), Ko(error))
    assert Ok(1) != Ok(2)


def test_convention_shows_what_a_call_would_be_stored_as() -> None:
    lineage = {"resonate:root": "r", "resonate:parent": "p"}
    remote = Remote("a", "r", "p", "f", (1,), opts=Options(tags={"k": "v"}))
    assert (remote.idempotency_key, remote.timeout) == ("a", 31_536_000)
    assert remote.data == {"func": "f", "args": (1,), "kwargs": {}, "version": 0}
    invoke = {"k": "v", **lineage, "resonate:scope": "global", "resonate:invoke": "poll://any@default"}
    assert remote.tags == invoke
    changed = remote.options(id="b", target="workers", version=2, idempotency_key=lambda id: f"k{id}", timeout=5)
    assert (changed.tags["resonate:invoke"], changed.data["version"]) == ("poll://any@workers", 2)
    assert (changed.id, changed.idempotency_key, changed.timeout) == ("b", "kb", 5)
    local = Local("a", "r", "p").options(tags={"k": "v"}, target="none", version=3)
    assert (local.tags, local.data) == ({"k": "v", **lineage, "resonate:scope": "local"}, None)
    assert Base("a", 5).options(id="b", idempotency_key=lambda id: id, timeout=6) == Base("b", 6, "b")
    sleep = Sleep("a", 2).options(id="b", timeout=9)
    assert (sleep.id, sleep.timeout, sleep.tags) == ("b", 2, {"resonate:timeout": "true"})


def test_stores_by_hand_have_the_interface_of_0_6_7() -> None:
    assert all(isinstance(kind(), Store) for kind in (LocalStore, RemoteStore))
