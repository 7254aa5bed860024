"""`tests.support.driver.Driver` over the deployment: tests of the programming model run there as they do in memory.

The worker's code is `registered.py`, which knows whatever functions the test has registered. They stay objects of the
test's, so a test may look at what they have seen. A client of the deployment is a program beside it, with the same
functions: what it runs is begun by itself, and continued by the worker.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from resonate import Resonate
from resonate.dependencies import Dependencies
from resonate.encryption import Encryptor
from resonate.errors import ResonateHaltedError
from resonate.payloads import codec
from resonate.threads import Pool
from resonate.worker.task_run import Report
from resonate.workflow.registry import Registry
from resonate_infra.testing.stack import Event, OfflineStack
from resonate_store.dynamo.items import entry_of, expiry_of
from resonate_store.model.records import Record, Value
from resonate_store.model.requests import PromiseCreate
from resonate_store.model.tags import TARGET
from tests.support.driver import DAY, SECOND, Asking
from tests.support.records import items_of

Func = TypeVar("Func", bound=Callable[..., Any])
T = TypeVar("T")

registry = Registry()
"""What the worker can run now."""
dependencies = Dependencies()
"""What its contexts hand out now."""
encryptor: Encryptor | None = None
"""What hides its payloads now."""


class Here(Pool):
    """Makes every call at once, in the caller's thread: like the stack, because moto takes no locks."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future

    def enqueue(self, call: Callable[[], object], cancelled: Callable[[], object]) -> None:  # noqa: ARG002
        with suppress(BaseException):
            call()

    def runs_here(self) -> bool:
        return True


class Turning:
    """The stack's clock for a program beside it: while that waits, the deployment does what is due."""

    def __init__(self, stack: OfflineStack) -> None:
        self._stack = stack
        self._began_at = self.now()

    def now(self) -> int:
        return self._stack.clock.now()

    def sleep(self, milliseconds: int) -> None:
        assert self.now() - self._began_at < DAY * SECOND, "a day has passed: nothing comes of what is waited for"
        self._stack.advance(seconds=milliseconds / SECOND)


class OfflineDriver(Asking):
    """Starts executions and waits for them; the functions of the deployment do the rest.

    Args:
        stack: a stack whose worker's code is `registered.py`.
        forgetful: whether no process outlives an invocation.

    Attributes:
        reports: how each invocation of the worker ended.
    """

    lateness = 1.0

    def __init__(self, stack: OfflineStack, *, forgetful: bool) -> None:
        self.stack = stack
        self.clock = stack.clock
        self.store = stack.store
        self.rpc_target = f"lambda://{stack.function('WorkerFunction').name}"
        self.reports: list[Report] = []
        self.dependencies = dependencies
        dependencies.clear()
        self._encrypt(None)
        self.deploy()
        self._began_at = stack.clock.now()
        self._forgetful = forgetful
        stack.watch = self._after_invocation

    @property
    def registry(self) -> Registry:
        """What the worker can run now."""
        return registry

    def connect(self, **arguments: Any) -> Resonate:
        """A client with the worker's functions and dependencies; the arguments are those of `Resonate`.

        It needs `Here` in the place of its pool.
        """
        dependencies.update(arguments.pop("dependencies", {}))
        self._encrypt(arguments.get("encryptor"))
        settings = {
            **arguments,
            "registry": registry,
            "dependencies": dependencies,
            "clock": Turning(self.stack),
            "workers": 1,
            # The thread that keeps leases alive would do so in the midst of things.
            "ttl": round(2 * DAY),
        }
        return self.stack.client(**settings)

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
        assert self.store.apply(PromiseCreate(id, self.after(timeout), param, tags)).ok

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

    def records(self) -> list[Record]:
        entries = [entry_of(item) for item in self._items() if expiry_of(item) is None]
        return sorted((entry for entry in entries if isinstance(entry, Record)), key=lambda record: record.id)

    def expire(self, id: str) -> None:
        (item,) = [item for item in self._items() if expiry_of(item) is None and entry_of(item).id == id]
        key = {name: item[name] for name in ("pk", "sk")}
        self.stack.cloud.client("dynamodb").delete_item(TableName=self.stack.deployment.table_name, Key=key)

    def elapsed(self) -> float:
        """Seconds since the beginning of the test."""
        return (self.clock.now() - self._began_at) / SECOND

    def _items(self) -> list[dict[str, Any]]:
        return items_of(self.stack)

    def _encrypt(self, chosen: Encryptor | None) -> None:
        global encryptor
        encryptor = chosen

    def after(self, seconds: float) -> int:
        return self.clock.now() + round(seconds * SECOND)

    def _after_invocation(self, event: Event) -> None:
        if event.function == "WorkerFunction" and event.response is not None:
            self.reports.append(Report(event.response["status"], event.response.get("error")))
        if self._forgetful:
            self.stack.processes.forget_all()
