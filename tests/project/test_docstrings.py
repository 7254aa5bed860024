"""Docstrings of the public names: each argument is described, and newcomers get an example where they want one."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from types import MemberDescriptorType
from typing import Any

import pytest
from docstring_parser import DocstringStyle, parse

import resonate
from resonate import Context, Handle, Resonate, Saga
from resonate.client.function import Function
from resonate.clocks import StepClock
from resonate.encoders import Encoder
from resonate.executions import Executions
from resonate.message_sources import LocalMessageSource, MessageSource, Poller
from resonate.promises import DurablePromise, Promises
from resonate.schedules import DurableSchedule, Schedules
from resonate.stores import LocalStore, RemoteStore
from resonate.stores.by_hand import LocalPromises, LocalTask, LocalTasks
from resonate.stores.local_schedules import LocalSchedule, LocalSchedules
from resonate.testing import MemoryStack
from resonate.testing.stack import Starter
from resonate.workflow import options
from resonate_infra.testing.gateway import Gateway
from resonate_infra.testing.stack import OfflineStack

MODULES = ("resonate", "resonate.testing", "resonate.errors", "resonate.retry_policies", "resonate.encryption")
OBJECTS: tuple[Any, ...] = (
    *(Function, Promises, DurablePromise, Schedules, DurableSchedule, Executions, Starter, OfflineStack, Gateway),
    *(LocalStore, LocalPromises, LocalTask, LocalTasks, LocalSchedule, LocalSchedules, RemoteStore),
    *(LocalMessageSource, MessageSource, Poller, StepClock, Encoder),
)
"""Classes of what the public names give, and of other modules that programs import."""
WITH_EXAMPLE: list[Any] = [
    *(resonate, Resonate, Resonate.run, Resonate.rpc, Resonate.remote, Resonate.register, Resonate.handler),
    *(Resonate.send, Resonate.cancel, Resonate.schedule, Resonate.update_schedule, Resonate.set_dependency, Handle),
    *(Context, Context.run, Context.begin_run, Context.rpc, Context.begin_rpc, Context.detached, Context.sleep),
    *(Context.promise, Context.all, Context.all_settled, Context.any, Context.race, Context.map, Context.wait),
    *(Context.begin_sleep, Context.cancel, Context.saga, Context.continue_as, Context.typesafe, Context.send),
    *(Context.receive, Context.publish, Context.patched, Context.get_dependency, Saga, Promises.resolve),
    *(Schedules.update, Schedules.pause, Executions.list, Executions.iterate, Executions.fork, Executions.redrive),
    *(Executions.get, MemoryStack, MemoryStack.set_dependency, Resonate.begin_run, Resonate.begin_rpc),
]


def public() -> Iterator[Any]:
    """Yield the public classes and functions."""
    for module in map(importlib.import_module, MODULES):
        own = [name for name, each in vars(module).items() if getattr(each, "__module__", "") == module.__name__]
        for name in getattr(module, "__all__", [name for name in own if not name.startswith("_")]):
            each = getattr(module, name)
            if inspect.isclass(each) or inspect.isfunction(each):
                yield each
    yield from OBJECTS


def callables() -> dict[str, tuple[Callable[..., Any], str, type | None]]:
    """Return the public callables by name, each with its docstring, and the class that it belongs to."""
    found: dict[str, tuple[Callable[..., Any], str, type | None]] = {}
    for each in public():
        if not inspect.isclass(each):
            found[each.__name__] = (each, inspect.getdoc(each) or "", None)
            continue
        if "__init__" in vars(each) and not getattr(each, "_is_protocol", False):
            found[each.__name__] = (each.__init__, inspect.getdoc(each) or "", None)
        for name in dir(each):
            method: Any = inspect.getattr_static(each, name)
            method = getattr(each, name) if isinstance(method, (classmethod, staticmethod)) else method
            ours = (getattr(method, "__module__", None) or "").startswith("resonate")
            if callable(method) and ours and not name.startswith("_"):
                found[f"{each.__name__}.{name}"] = (method, inspect.getdoc(method) or "", each)
    return found


CALLABLES = callables()


def described(doc: str) -> set[str]:
    """Return the names that a docstring describes: in its list of arguments, or in its sentences."""
    listed = parse(doc, style=DocstringStyle.GOOGLE).params
    names = {name.strip() for each in listed for name in each.arg_name.split(",")}
    return names.union(*(re.findall(r"\w+", code) for code in re.findall(r"`([^`]+)`", doc)))


def referred(doc: str, owner: type | None) -> Iterator[str]:
    """Yield the callables to which a docstring refers for arguments."""
    for name in re.findall(r"(?:[Ss]ee|those of|as for)\s+`([\w.]+)`", doc):
        for full in (f"{owner.__name__}.{name}" if owner else name, name):
            if full in CALLABLES:
                yield full
                break


def lacking(name: str, seen: frozenset[str] = frozenset()) -> set[str]:
    """Return the parameters of a callable that neither its docstring nor one that it refers to describes."""
    func, doc, owner = CALLABLES[name]
    names = {each for each in inspect.signature(func).parameters if each not in ("self", "cls")}
    if (kind := re.search(r"`(\w+Options)`", doc)) is not None:  # explained once, where they are defined
        kinds = (getattr(options, kind[1]), options.CallOptions, options.StartOptions)
        return names - set().union(*(described(inspect.getdoc(each) or "") for each in kinds))
    known = described(doc)
    for other in referred(doc, owner):
        if other not in seen:
            known |= names & set(inspect.signature(CALLABLES[other][0]).parameters) - lacking(other, seen | {name})
    return names - known


@pytest.mark.parametrize("name", sorted(CALLABLES))
def test_docstring_describes_each_parameter(name: str) -> None:
    assert CALLABLES[name][1], "it has no docstring"
    assert lacking(name) == set()


def test_docstrings_of_what_newcomers_use_have_an_example(subtests: pytest.Subtests) -> None:
    for each in WITH_EXAMPLE:
        lines = (inspect.getdoc(each) or "").partition("\nArgs:")[0].splitlines()
        with subtests.test(getattr(each, "__qualname__", each.__name__)):
            assert any(line.startswith("    ") for line in lines) or any("`" in line for line in lines[:1])


def test_public_names_have_a_docstring() -> None:
    kinds = [name for name in resonate.__all__ if inspect.isclass(getattr(resonate, name))]
    assert [name for name in kinds if not inspect.getdoc(getattr(resonate, name))] == []


def test_public_names_of_a_context_are_documented() -> None:
    """Internal attributes are private, so editors offer what workflows use, and nothing else."""

    def flow(ctx: Context) -> dict[str, str | None]:
        return {name: inspect.getdoc(inspect.getattr_static(ctx, name)) for name in dir(ctx) if name[0] != "_"}

    names = MemoryStack().run(flow)
    assert [name for name, doc in names.items() if not doc] == []
    assert {"run", "sleep", "info"} < names.keys()
    assert {name for name in names if isinstance(inspect.getattr_static(Context, name), MemberDescriptorType)} == set()
