from __future__ import annotations

from typing import Any

import pytest

from resonate import Context, Promise
from resonate.retry_policies import Never
from resonate.workflow.commands import LFC, LFI, RFC, RFI, PromiseCommand, Sleep
from resonate.workflow.context import Info
from resonate.workflow.options import Options
from resonate.workflow.registry import Registry

CONTEXT = Context("w", Info(1, 0, {}, 1), Registry(), {})


def foo(_: Context) -> None: ...


COMMON: dict[str, Any] = {"id": "x", "idempotency_key": "k", "tags": {"a": "b"}, "timeout": 1.5}
LOCAL = {
    **COMMON,
    "at_most_once": True,
    "attempt_timeout": 2.5,
    "durable": False,
    "non_retryable_exceptions": (ValueError,),
    "retry_policy": Never(),
}
REMOTE: dict[str, Any] = {**COMMON, "target": "g", "version": 2}
COMMANDS: list[tuple[Any, type, bool, str, dict[str, Any]]] = [
    (CONTEXT.run(foo), LFC, True, "run foo", LOCAL),
    (CONTEXT.begin_run(foo), LFI, False, "run foo", LOCAL),
    (CONTEXT.rpc("bar"), RFC, True, "rpc bar", REMOTE),
    (CONTEXT.begin_rpc("bar"), RFI, False, "rpc bar", REMOTE),
    (CONTEXT.detached("bar"), RFI, False, "rpc bar", REMOTE),
    (CONTEXT.promise(), PromiseCommand, False, "a promise", REMOTE),
    (CONTEXT.sleep(5), Sleep, True, "a sleep", REMOTE),
]


def test_command_is_described_and_takes_its_options(subtests: pytest.Subtests) -> None:
    for command, kind, waits, described, options in COMMANDS:
        with subtests.test(described=described):
            assert type(command) is kind
            assert (command.waits, command.describe()) == (waits, described)
            assert command.opts == Options()
            for name, value in options.items():
                assert command.options(**{name: value}) is command
            assert command.opts == (Options(id="x") if kind is Sleep else Options(**options))


def test_option_that_a_command_does_not_have_is_refused(subtests: pytest.Subtests) -> None:
    for command, options in [(each[0], each[4]) for each in COMMANDS]:
        with subtests.test(command=command):
            for name in (LOCAL | REMOTE).keys() - options.keys():
                with pytest.raises(TypeError) as refused:
                    command.options(**{name: (LOCAL | REMOTE)[name]})
                problem, _, names = str(refused.value).partition(" are ")
                assert problem == f"unknown option '{name}' of {command.describe()}: its options"
                assert set(names.split(", ")) == {"encoder", *options}
            with pytest.raises(TypeError, match="options are given by name"):
                command.options(5)
            with pytest.raises(TypeError, match="id must be `str`, got int"):
                command.options(id=5)


def test_promise_repr_has_its_ids() -> None:
    assert repr(Promise("w.1", "w")) == "Promise(id='w.1', cid='w')"
