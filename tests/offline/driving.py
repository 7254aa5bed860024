"""`tests.sdk.driving.Driver` over the deployment: what a test of the programming model says in memory holds there, too.

The worker's code is `registered.py`, which knows whatever functions the test has registered. They stay objects of the
test's, so a test may look at what they have seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from resonate import codec
from resonate.errors import ResonateHaltedError
from resonate.registry import Registry
from resonate.worker import Report
from resonate_infra.testing.stack import Event, OfflineStack
from resonate_store.models import entry_of
from resonate_store.records import TARGET, Record, Value
from resonate_store.requests import PromiseCreate
from tests.sdk.driving import DAY, SECOND, Asking

Func = TypeVar("Func", bound=Callable[..., Any])

registry = Registry()
"""What the worker can run now."""
dependencies: dict[str, Any] = {}
"""What its contexts hand out now."""


class OfflineDriver(Asking):
    """Starts executions and waits for them; the functions of the deployment do the rest.

    Args:
        stack: a stack whose worker's code is `registered.py`.
        forgetful: whether no process outlives an invocation.

    Attributes:
        reports: how each invocation of the worker ended.
    """

    def __init__(self, stack: OfflineStack, *, forgetful: bool) -> None:
        self.stack = stack
        self.clock = stack.clock
        self.store = stack.store
        self.reports: list[Report] = []
        self.dependencies = dependencies
        dependencies.clear()
        self.deploy()
        self._began_at = stack.clock.now()
        self._forgetful = forgetful
        stack.watch = self._after_invocation

    def register(self, func: Func) -> Func:
        """Make a function known; also a decorator."""
        registry.add(func)
        return func

    def deploy(self, **functions: Callable[..., Any]) -> None:
        """Put a new version of the program in place of the present one."""
        global registry
        registry = Registry()
        for name, func in functions.items():
            registry.add(func, name)
        self.stack.processes.forget_all()

    def begin(
        self,
        id: str,
        func: Callable[..., Any],
        *args: Any,
        timeout: float = DAY,
        tags: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Create an execution of `func`, which is registered if it is not; its task is offered."""
        try:
            name = registry.get(func).name
        except ValueError:
            name = registry.add(func).name
        self.create(id, {"func": name, "args": args, "kwargs": kwargs}, timeout=timeout, tags=tags)

    def create(self, id: str, call: Any, *, timeout: float = DAY, tags: dict[str, str] | None = None) -> None:
        """Create a task whose param is `call`."""
        param = call if isinstance(call, Value) else codec.encode(call, "a call")
        tags = {TARGET: "poll://any@worker", **(tags or {})}
        assert self.store.apply(PromiseCreate(id, self._after(timeout), param, tags)).ok

    def work(self) -> list[str]:
        """Let everything happen that happens now; returns how the invocations of the worker ended."""
        before = len(self.reports)
        self.stack.pump()
        return [report.status for report in self.reports[before:]]

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and everything happen in it at its time."""
        self.stack.advance(seconds=seconds)

    def finish(self, id: str) -> Any:
        """Let time pass until the execution has its outcome."""
        self.stack.pump()
        while (promise := self.promise(id)).pending:
            task = self.task(id)
            if task is not None and task.state == "halted":
                raise ResonateHaltedError(id, task.error or "")
            at = self.stack.next_event_at()
            assert at is not None, f"{id} hangs: nothing is due, ever"
            self.stack.advance(seconds=(at - self.clock.now()) / SECOND)
        return codec.outcome_of(promise)

    def ids(self) -> list[str]:
        """The ids of all promises."""
        items = self.stack.cloud.client("dynamodb").scan(TableName=self.stack.deployment.table_name)["Items"]
        entries = [entry_of(item) for item in items if not item["sk"]["S"].startswith("expiry#")]
        return sorted(entry.id for entry in entries if isinstance(entry, Record))

    def elapsed(self) -> float:
        """Seconds since the beginning of the test."""
        return (self.clock.now() - self._began_at) / SECOND

    def _after(self, seconds: float) -> int:
        return self.clock.now() + round(seconds * SECOND)

    def _after_invocation(self, event: Event) -> None:
        if event.function == "WorkerFunction" and event.response is not None:
            self.reports.append(Report(event.response["status"], event.response.get("error")))
        if self._forgetful:
            self.stack.processes.forget_all()
