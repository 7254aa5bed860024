"""Ends of real processes: without `stop`, interrupted, killed. Each has a real server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.hypothesis_settings import in_ci
from tests.support.serving import PATIENCE, Serving, new_server  # noqa: F401

ROOT = Path(__file__).parents[2]
PROMPTLY = 15.0
"""Maximum seconds in which a process without work ends on a busy machine."""

Run = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def run(serving: Serving) -> Iterator[Run]:
    """Return a function that starts a program with the server in its environment, until the end of the test."""
    started: list[subprocess.Popen[str]] = []
    paths = os.pathsep.join(str(ROOT / name) for name in ("", "sdk", "store"))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", "RESONATE_HOST": "http://127.0.0.1"}
    environment |= {"RESONATE_PORT_STORE": str(serving.port)}

    def start(program: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            # An interrupt can leave a new socket without an owner.
            [sys.executable, "-W", "error", "-W", "ignore::ResourceWarning", "-c", textwrap.dedent(program)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for the end of a process. Return its exit code, output and errors."""
    began = time.monotonic()
    out, err = process.communicate(timeout=PATIENCE)
    assert time.monotonic() - began < PROMPTLY
    return process.returncode, out, err


def interrupted(process: subprocess.Popen[str], said: str = "waiting") -> tuple[int, str, str]:
    """Interrupt a process after a line, and wait for its end."""
    assert line(process) == said
    process.send_signal(signal.SIGINT)
    return ended(process)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


LOCAL = "resonate = Resonate.local(workers=4)"
REMOTE = "resonate = Resonate.remote(workers=4)"
local_and_remote = pytest.mark.parametrize("resonate", [LOCAL, REMOTE], ids=["local", "remote"])

FORKED = """
import os
import warnings
from resonate import Resonate

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns about forks with threads too.

{resonate}

@resonate.register
def double(ctx, n):
    return 2 * n

assert double.run("before", 1) == 2
child = os.fork()
if child:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert double.run("after", 2) == 4
else:
    for use in (double.begin_run, double.run, double.begin_rpc):
        try:
            use("child", 3)
        except RuntimeError as error:
            assert "was started in process" in str(error)
        else:
            raise AssertionError("the child accepts what nothing runs")
    own = {own}
    own.register(double.func, name="double")
    assert own.run("own", "double", 4) == 8
    own.stop()
resonate.stop()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@local_and_remote
def test_fork_of_a_started_program_refuses_calls(run: Run, resonate: str) -> None:
    process = run(FORKED.format(resonate=resonate, own=resonate.removeprefix("resonate = ")))

    assert ended(process) == (0, "", "")


STUCK = """
import threading
from resonate import Resonate

{resonate}
running = threading.Event()

@resonate.register
def stuck(ctx):
    yield (yield ctx.begin_run(wait))

def wait(ctx):
    running.set()
    threading.Event().wait()

handle = resonate.begin_run("w", stuck)
handle.future
assert running.wait(10)
"""


@local_and_remote
def test_program_without_stop_ends_although_a_step_hangs(run: Run, resonate: str) -> None:
    assert ended(run(STUCK.format(resonate=resonate) + "print('end')")) == (0, "end\n", "")


@local_and_remote
def test_program_that_ends_completes_its_running_step(run: Run, resonate: str) -> None:
    program = """
    import threading
    from resonate import Resonate

    {resonate}
    running = threading.Event()

    @resonate.register
    def f(ctx):
        yield ctx.run(step)
        while True:
            yield ctx.run(lambda _: None)

    def step(ctx):
        running.set()
        threading.Event().wait(0.2)
        print("step is done")

    resonate.begin_run("w", f)
    assert running.wait(10)
    """
    assert ended(run(textwrap.dedent(program).format(resonate=resonate))) == (0, "step is done\n", "")


@local_and_remote
def test_interrupted_wait_raises_keyboard_interrupt(run: Run, resonate: str) -> None:
    waiting = """
try:
    print("waiting")
    handle.result()
except KeyboardInterrupt:
    print("bye")
"""
    assert interrupted(run(STUCK.format(resonate=resonate) + waiting)) == (0, "bye\n", "")


@local_and_remote
def test_unhandled_interrupt_leaves_no_traceback(run: Run, resonate: str) -> None:
    process = run(STUCK.format(resonate=resonate) + "print('waiting')\nhandle.result()")
    assert interrupted(process) == (-signal.SIGINT, "", "")


IN_MEMORY = """
import asyncio
import sys, threading, time
from resonate import Resonate

resonate = Resonate()

@resonate.register
def wait(ctx):
    threading.Event().wait(0.2)  # Python ignores a signal just before the main thread waits.
    print("running")
    threading.Event().wait()

@resonate.register
def calls(ctx):
    yield ctx.run(wait)

@resonate.register
def begins(ctx):
    yield (yield ctx.begin_run(wait))

@resonate.register
def fails(ctx):
    raise ValueError("mine")
    yield

async def sleep():
    print("running")
    await asyncio.sleep(60)
"""


INTERRUPTED = (
    "resonate.run('w', wait)",
    "resonate.run('w', calls)",
    "resonate.run('w', begins)",
    "resonate.start()\nprint('running')\nwhile True: time.sleep(1)",
    "resonate.start()\ntry:\n    resonate.run('w', calls)\nfinally:\n    resonate.stop()",
    "resonate.start()\nasyncio.run(sleep())",
    "other = Resonate()\nother.start()\nresonate.start()\nother.stop()\nresonate.run('w', calls)",
    "resonate.start()\nresonate.stop()\nresonate.start()\nresonate.run('w', calls)",
)


@in_ci
def test_interrupted_program_in_memory_leaves_no_traceback(run: Run, subtests: pytest.Subtests) -> None:
    for waiting in INTERRUPTED:
        with subtests.test(waiting):
            assert interrupted(run(IN_MEMORY + waiting), "running") == (-signal.SIGINT, "", "")


def test_second_interrupt_ends_the_program_at_once(run: Run, serving: Serving) -> None:
    process = run(STUCK.format(resonate=REMOTE) + "print('waiting')\nhandle.result()")
    assert line(process) == "waiting"
    serving.wait_for_stream("default")
    process.send_signal(signal.SIGINT)
    notice_ended_streams(serving, "default")
    process.send_signal(signal.SIGINT)

    assert ended(process) == (-signal.SIGINT, "", "")


REPORTED = {
    "resonate.run('w', fails)": "ValueError: mine",
    "resonate.start()\nresonate.stop()\nraise KeyboardInterrupt": "KeyboardInterrupt",
    "try:\n    resonate.start()\n    raise KeyboardInterrupt\nexcept KeyboardInterrupt:\n    resonate.stop()\n"
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "import os\nos.environ['AWS_LAMBDA_RUNTIME_API'] = 'x'\nresonate.start()\n"
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "sys.ps1 = '>>> '\nresonate.start()\nraise KeyboardInterrupt": "KeyboardInterrupt",
    "sys.excepthook = lambda *_: print('mine', file=sys.stderr)\nresonate.start()\nraise ValueError": "mine",
    "before = sys.excepthook\nresonate.start()\nassert sys.excepthook is not before\nresonate.stop()\n"
    "assert sys.excepthook is before\nraise ValueError('put back')": "ValueError: put back",
}


@in_ci
def test_other_errors_of_a_program_are_reported(run: Run, subtests: pytest.Subtests) -> None:
    for waiting, last in REPORTED.items():
        with subtests.test(waiting):
            _, _, err = ended(run(IN_MEMORY + waiting))
            assert err.splitlines()[-1].strip() == last


def test_interrupted_worker_stops_all_its_threads(run: Run, serving: Serving) -> None:
    process = run(
        """
        import threading
        from resonate import Resonate

        resonate = Resonate.remote(group="worker")

        @resonate.register
        def f(ctx): ...

        resonate.start()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            resonate.stop()
            print([thread.name for thread in threading.enumerate()])
        """
    )
    serving.wait_for_stream("worker")
    process.send_signal(signal.SIGINT)

    assert ended(process) == (0, "['MainThread']\n", "")


DURABLE_SLEEP = ROOT / "examples" / "durable_sleep"
WORKER = (DURABLE_SLEEP / "worker.py").read_text()
CLIENT = (DURABLE_SLEEP / "client.py").read_text().replace("secs = 5.0", "secs = 1.5")


def test_killed_worker_of_a_sleeping_workflow_is_replaced(run: Run, serving: Serving) -> None:
    worker = run(WORKER)
    assert line(worker) == "worker is running..."
    serving.wait_for_stream("worker")
    client = run(CLIENT)
    assert line(worker) == "Workflow sleep-workflow-1 starting, will sleep for 1.5 seconds."
    serving.wait_for("task.suspend")
    worker.kill()
    notice_ended_streams(serving, "worker")
    again = run(WORKER)
    assert line(again) == "worker is running..."

    completed = "Workflow sleep-workflow-1 completed after sleeping for 1.5 seconds.\n"
    assert ended(client) == (0, completed, "")
    assert ended(run(CLIENT)) == (0, completed, "")


def notice_ended_streams(serving: Serving, group: str) -> None:
    """Write to the streams of a group until the server has noticed that they ended."""
    began = time.monotonic()
    while any(name == group for name, _ in serving.streams):
        assert time.monotonic() - began < PATIENCE
        for stream in list(serving.streams.values()):
            stream.put(b": keep-alive\n\n")
        time.sleep(0.02)


def test_interrupted_example_leaves_no_traceback(run: Run, serving: Serving) -> None:
    worker = run(WORKER)
    assert line(worker) == "worker is running..."
    serving.wait_for_stream("worker")
    client = run(CLIENT.replace("secs = 1.5", "secs = 60.0"))
    serving.wait_for("task.suspend")
    for process in (client, worker):
        process.send_signal(signal.SIGINT)

    assert ended(client) == (-signal.SIGINT, "", "")
    started = "Workflow sleep-workflow-1 starting, will sleep for 60.0 seconds.\n"
    assert ended(worker) == (-signal.SIGINT, started, "")


@in_ci
def test_test_run_in_the_background_does_not_ignore_interrupts() -> None:
    # A shell starts a background job with SIGINT ignored, and its children inherit that.
    test = f"{__file__}::{test_interrupted_wait_raises_keyboard_interrupt.__name__}[local]"
    command = ["sh", "-c", 'trap "" INT TERM; exec "$@"', "sh", sys.executable, "-m", "pytest", "-q", "-n1", test]

    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)

    assert "1 passed" in ran.stdout, ran.stdout
