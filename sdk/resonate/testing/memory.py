"""The stack in memory: the real worker over the real store, in one thread, with a clock that only the test moves.

Each message to a worker is one invocation, as on Lambda: it acquires the task, replays the workflow from its beginning
and ends. Arguments, results and errors are encoded as on Lambda. So a workflow has the same outcome there. The stack
does not wait for real time, and each run of a test does the same. Only the event loop of async functions has its own
thread, which all stacks share.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from resonate.aws_lambda.handler import LEASE_MARGIN_MS, RESERVE_MS
from resonate.client.caller import Caller
from resonate.client.client import Resonate
from resonate.client.function import Function
from resonate.payloads import codec
from resonate.testing.faults import FailPoints, Killed
from resonate.testing.functions import name_of, stub_of
from resonate.testing.stack import Stack
from resonate.worker.async_functions import AsyncFunctions
from resonate.worker.resources import Resources
from resonate.worker.worker import Worker
from resonate.workflow.registry import Registry
from resonate.workflow.signatures import signature_of
from resonate_store.interface import Store, StoreClosed, StoreError, StoreWrapper
from resonate_store.local.memory import MemoryStore
from resonate_store.machine import Outcome
from resonate_store.model.addresses import expand, group_of
from resonate_store.model.clock import ManualClock, installed
from resonate_store.model.limits import excess
from resonate_store.model.records import PromiseView, Record
from resonate_store.model.requests import Request, Response

WORKER_TIMEOUT_S = 300.0
"""Time limit of an invocation, as in `template.yaml`. The task of a killed worker waits that long, plus a margin."""

_ASYNC_FUNCTIONS = AsyncFunctions()


class MemoryStack(Stack):
    """A whole system in this process's memory::

        stack = MemoryStack(app.resonate, dependencies={"mail": Mock()})
        assert stack.run(app.trial, "ada") == "receipt-1"

    Args:
        programs: `Resonate` objects. Their registered functions are served in their groups. `run` and `start` add the
            program of their function.
        clock: the stack's time; by default one that begins at a fixed instant.
        dependencies: objects that `ctx.get_dependency` returns, by name; they replace those of the programs.
        worker_timeout: the time limit of an invocation in seconds; 300 by default.
    """

    def __init__(
        self,
        *programs: Resonate,
        clock: ManualClock | None = None,
        dependencies: Mapping[str, Any] | None = None,
        worker_timeout: float = WORKER_TIMEOUT_S,
    ) -> None:
        clock = clock or ManualClock()
        super().__init__(clock)
        self._programs: list[Caller] = []
        self._groups: dict[str, list[Registry]] = {}
        self._registry = Registry()
        self._mocks = Registry()
        self._mocked: dict[str, Registry] = {}
        self._dependencies: dict[str, Any] = dict(dependencies or {})
        self._remaining = round(worker_timeout * 1000)
        self._outbox: deque[tuple[str, dict[str, Any]]] = deque()
        self._nobodys: dict[str, str] = {}
        self._pumping = False
        self._memory = _Memory(self.clock, self._send)
        for program in programs:
            self.serve(program)

    # Programs

    def serve(self, program: Caller) -> None:
        """Serve the functions that a program has registered, or registers later, in its group.

        Args:
            program: a `Resonate`.
        """
        if program not in self._programs:
            self._programs.append(program)
            self._groups.setdefault(program.group, []).append(program.registry)

    def register(
        self, function: Callable[..., Any], *, name: str | None = None, version: int = 1, group: str = "default"
    ) -> None:
        """Serve one function.

        Args:
            function: the function.
            name: the name under which it is called; its own by default.
            version: its version; 1 by default.
            group: the group or address that serves it.

        Raises:
            ValueError: it cannot be registered, or its name is taken.
        """
        registries = self._groups.setdefault(group_of(group) or group, [])
        if self._registry not in registries:
            registries.append(self._registry)
        self._registry.add(function, name, version)

    def set_dependency(self, name: str, obj: Any) -> None:
        """Make `ctx.get_dependency(name)` return an object, even if a program has set another one.

            stack.set_dependency("mail", Mock())

        Args:
            name: the name of the dependency.
            obj: the object.
        """
        self._dependencies[name] = obj

    def mock(self, name: str, function: Callable[..., Any], *, target: str | None = None, version: int = 1) -> None:
        """Serve calls of a function that is not part of the test; see `Stack.mock`."""
        registry = self._mocks if target is None else self._mocked.setdefault(_place_of(expand(target)), Registry())
        registry.add(stub_of(function), name, version)

    # The stack

    @property
    def store(self) -> MemoryStore:
        return self._memory

    def client(self, **arguments: Any) -> Resonate:
        return super().client(**{"store": _Outside(self), **arguments})

    def pump(self) -> int:
        if self._pumping:  # a function under test uses a client, which pumps as well
            return 0
        self._pumping = True
        try:
            return self._pump()
        finally:
            self._pumping = False

    def _pump(self) -> int:
        delivered = 0
        with installed(self.clock):
            while True:
                while self._outbox:
                    address, message = self._outbox.popleft()
                    for _ in range(self._messages.copies()):
                        self._deliver(address, message)
                    delivered += 1
                at = self._memory.next_wake_at()
                if at is None or at > self.clock.now():
                    return delivered
                delivered += self._memory.tick()

    def next_event_at(self) -> int | None:
        return self._memory.next_wake_at()

    def clear(self) -> None:
        self._memory = _Memory(self.clock, self._send)
        self._outbox.clear()
        self._nobodys.clear()
        self._mocks = Registry()
        self._mocked.clear()
        self._forget()

    def _proceed_to(self, at: int) -> None:
        self.clock.sleep(at - self.clock.now())
        self.pump()

    def _records(self) -> list[Record]:
        return self._memory.records()

    def _unserved(self) -> dict[str, str]:
        return {
            id: address for id, address in self._nobodys.items() if self._registry_for(_place_of(address), id) is None
        }

    def _record(self, id: str) -> Record | None:
        return self._memory.record(id)

    def _called(self, workflow: Callable[..., Any] | str, version: int | None) -> tuple[str, int, str]:
        if isinstance(workflow, Function):
            function = cast("Function[..., Any]", workflow)
            self.serve(function.resonate)
            return function.name, version or function.version, function.resonate.group
        mocks = {**{place: [mocked] for place, mocked in self._mocked.items()}, "default": [self._mocks]}
        for served in (self._groups, mocks):
            for group, registries in served.items():
                for registry in registries:
                    try:
                        found = registry.get(workflow, version or 0)
                    except ValueError:
                        continue
                    return found.name, found.version, group
        if isinstance(workflow, str):
            known = sorted(
                {name for registries in self._groups.values() for each in registries for name in each.names()}
            )
            raise ValueError(
                f"no program of this stack has registered {workflow}; it knows {', '.join(known) or 'none'}"
            )
        self.register(workflow)
        return name_of(workflow), 1, "default"

    def _result_type(self, name: str, version: int) -> Any:
        for registries in self._groups.values():
            for registry in registries:
                try:
                    return signature_of(registry.get(name, version).func).result
                except ValueError:
                    continue
        return Any

    # Messages

    def _send(self, address: str, message: dict[str, Any]) -> None:
        if message["kind"] == "execute":  # handles read their promises
            self._outbox.append((address, message))

    def _deliver(self, address: str, message: dict[str, Any]) -> None:
        id, version = message["data"]["task"]["id"], message["data"]["task"]["version"]
        place = _place_of(address)
        registry = self._registry_for(place, id)
        if registry is None:
            self._nobodys[id] = address
            return
        self._nobodys.pop(id, None)
        self.invocations[place] += 1
        store = _Watched(self._memory, self.requests, self._fail_points)
        dependencies = self._dependencies_for(registry)
        pid = f"{place}-{self.invocations[place]}"
        resources = Resources(store, self.clock, async_functions=_ASYNC_FUNCTIONS)
        worker = Worker(resources, registry, dependencies, pid, address)
        deadline = self.clock.now() + self._remaining - min(RESERVE_MS, self._remaining // 5)
        try:
            with self._fail_points.around_functions():
                worker.run(id, version, self._remaining + LEASE_MARGIN_MS, deadline)
        except (Killed, StoreError):
            pass  # the invocation has ended without an answer; the task is offered again when its lease ends
        finally:
            store.close()

    def _registry_for(self, place: str, id: str) -> Registry | None:
        """Return the functions of the worker that serves a target, and that knows the called function if one does."""
        record = self._memory.record(id)
        param: Any = codec.decode(record.param) if record is not None else None
        call = cast("dict[str, Any]", param) if isinstance(param, dict) else {}
        name, version = call.get("func", ""), call.get("version") or 0
        registries = self._groups.get(place, [])
        candidates = [*([self._mocked[place]] if place in self._mocked else []), *registries, self._mocks]
        for registry in candidates:
            try:
                registry.get(name, version)
            except ValueError:
                continue
            return registry
        return registries[0] if registries else None  # the worker then names the missing function

    def _dependencies_for(self, registry: Registry) -> dict[str, Any]:
        dependencies: dict[str, Any] = {}
        for program in self._programs:
            if program.registry is registry:
                dependencies.update(program.dependencies)
        return {**dependencies, **self._dependencies}


class _Memory(MemoryStore):
    """Store in memory that refuses what is too large for a deployment."""

    def _decide(self, request: Request) -> Outcome:
        outcome = super()._decide(request)
        for _, after in outcome.changes:
            if isinstance(after, Record):
                problem = excess(after.id, "param", after.param) or excess(after.id, "value", after.value)
                if problem:
                    return Outcome(Response(status=413, error=problem))
        return outcome


class _Outside(StoreWrapper):
    """The store for a program outside of the workers. The effects of a request happen before it returns."""

    def __init__(self, stack: MemoryStack) -> None:
        super().__init__(stack.store)
        self._stack = stack

    def apply(self, request: Request) -> Response:
        response = self._store.apply(request)
        self._stack.pump()
        return response

    def open(self) -> Store:
        return self

    def close(self) -> None:
        """Do nothing: the stack continues."""


class _Watched(StoreWrapper):
    """The store for one invocation. It counts requests, and carries out the fail-points (injected faults) of tests."""

    def __init__(self, store: MemoryStore, counts: Counter[str], fail_points: FailPoints) -> None:
        super().__init__(store)
        self._counts = counts
        self._fail_points = fail_points
        self._closed = False

    def apply(self, request: Request) -> Response:
        self._count(request.kind)
        id: str = getattr(request, "id", "")
        return self._fail_points.around((request.kind,), id, lambda: self._store.apply(request))

    def children(self, id: str, separator: str = ".") -> Sequence[PromiseView]:
        self._count("children")
        return self._fail_points.around(("children",), id, lambda: self._store.children(id, separator))

    def open(self) -> Store:
        return self

    def close(self) -> None:
        self._closed = True

    def _count(self, kind: str) -> None:
        if self._closed:
            raise StoreClosed("the invocation is over")
        self._counts[kind] += 1


def _place_of(address: str) -> str:
    return group_of(address) or address
