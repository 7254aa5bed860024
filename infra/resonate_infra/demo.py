"""`make demo`: a workflow sleeps, its worker exits, and a timer resumes it.

The demonstration creates the deployment of `template.yaml` on moto, in this process. The durable-sleep program runs
through its Lambda handlers: first it sleeps for five real seconds, then for seven days under a clock that is moved. It
does not use the network.
"""

from __future__ import annotations

import sys
import time
from contextlib import redirect_stdout
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TextIO

from resonate_infra.json_types import is_object
from resonate_store.extras import extra
from resonate_store.model.clock import Clock, ManualClock, SystemClock

if TYPE_CHECKING:
    from resonate_infra.testing.moto.cloud import CountedCall
    from resonate_infra.testing.stack import Event, OfflineStack

ID = "sleep-workflow-1"
WEEK_S = 7 * 86_400.0


class Indented:
    """Output stream that indents what the workflow prints."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._fresh = True

    def write(self, text: str) -> int:
        for line in text.splitlines(keepends=True):
            self._stream.write(f"{'':>24}| {line}" if self._fresh else line)
            self._fresh = line.endswith("\n")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


class Narrator:
    """Observer that prints what happens in a stack.

    Args:
        stack: the stack to observe.
        clock: the source of time.
        id: the execution whose task is shown.
    """

    def __init__(self, stack: OfflineStack, clock: Clock, id: str) -> None:
        self._stack = stack
        self._clock = clock
        self._id = id
        self._began = clock.now()
        self._version = 0
        self._out = sys.stdout
        stack.watch = self._on_event
        stack.cloud.fault = self._on_call

    def say(self, who: str, what: str) -> None:
        print(f"{self._elapsed():>12}  {who:<9} {what}", file=self._out, flush=True)

    def _elapsed(self) -> str:
        seconds = (self._clock.now() - self._began) / 1000
        days, rest = divmod(seconds, 86_400)
        return f"{days:.0f}d {rest:.2f}s" if days else f"{rest:.2f}s"

    def _on_call(self, moment: Literal["before", "after", "lost"], call: CountedCall) -> None:
        if moment != "after" or call.operation != "PutItem" or call.caller != "WorkerFunction":
            return
        record = self._peek()
        if record is not None and record.task is not None and record.task.version > self._version:
            self._version = record.task.version
            word = "acquired" if self._version == 1 else "resumed: acquired again"
            self.say("worker", f"{word}, version {self._version}; replays the generator")

    def _peek(self) -> Any:
        caller, self._stack.cloud.caller = self._stack.cloud.caller, ""
        try:
            return self._stack.store.record(self._id)
        finally:
            self._stack.cloud.caller = caller

    def _on_event(self, event: Event) -> None:
        if event.function == "DispatchFunction" and self._stack.cloud.invocations:
            self.say("dispatch", "stream record: task is pending; worker invoked")
        elif event.function == "TickFunction" and event.event != {"kind": "sweep"}:
            rearmed = is_object(event.response) and "rearmed" in event.response
            self.say("tick", "EventBridge schedule fired; the last stretch goes to SQS" if rearmed else "timer fired")
        elif event.function == "WorkerFunction" and is_object(event.response):
            status = event.response["status"]
            gone = "; the worker is gone, nothing of ours is running" if status == "suspended" else ""
            self.say("worker", f"{status}{gone}")


def run(clock: Clock, seconds: float) -> None:
    """Run the durable-sleep program once, and print what happens.

    Args:
        clock: the time of the stack: a `SystemClock` for real time, a `ManualClock` to move it.
        seconds: how long the workflow sleeps.
    """
    from resonate_infra.testing.stack import OfflineStack

    with OfflineStack(clock=clock) as stack:
        narrator = Narrator(stack, clock, ID)
        client = stack.client(group="client")
        narrator.say("client", f"begin_rpc({ID!r}, 'sleeping_workflow', secs={seconds})")
        handle = client.options(target="poll://any@worker").begin_rpc(
            ID, func="sleeping_workflow", wf_id=ID, secs=seconds
        )
        began = time.perf_counter()
        with redirect_stdout(Indented(sys.stdout)):
            stack.run_until_complete(ID)
        took = time.perf_counter() - began
        invocations = ", ".join(f"{name} {count}" for name, count in sorted(stack.invocations.items()))
        requests = stack.operations()
        operations = ", ".join(f"{name} {count}" for name, count in sorted(requests.items()))
        print(f"\n  invocations        {stack.invocations.total()} ({invocations})")
        print(f"  DynamoDB requests  {requests.total()} ({operations})")
        print(f"  seconds it took    {took:.2f}")
        print(f"\n  {handle.result(0)}\n")


def main() -> None:
    """Run the demonstration. Exit with a message if the extras `[testing,api]` are not installed."""
    with extra("testing,api", "the demo", ends_program=True):
        import_module("resonate_infra.testing.stack")  # Imported before anything is printed.
        print("A workflow that sleeps for 5 seconds, in real time:\n")
        run(SystemClock(), 5.0)
        print("The same workflow sleeping for 7 days, with the clock moved:\n")
        run(ManualClock(), WEEK_S)


if __name__ == "__main__":
    main()
