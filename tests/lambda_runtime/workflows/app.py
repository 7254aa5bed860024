"""Worker whose steps note their runs in a file, wait for one another, and take a given time.

Tests deploy it in the place of `functions/worker`, and end it in the middle of a workflow.
"""

import logging
import os
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from resonate import Context, Resonate

PATIENCE = 30.0
"""Maximum seconds that a step waits, in case the test has ended."""

resonate = Resonate(group="worker")
meeting = threading.Barrier(2)


@resonate.register
def guarded(ctx: Context, journal: str, gate: str) -> Generator[Any, Any, list[str]]:
    """Run a step, a second step that returns when the file `gate` exists, and a third step."""
    first = yield ctx.run(note, journal, "first")
    second = yield ctx.run(pass_gate, journal, gate)
    third = yield ctx.run(note, journal, "third")
    return [first, second, third]


@resonate.register
def slow(ctx: Context, journal: str, steps: int, secs: float) -> Generator[Any, Any, list[str]]:
    """Run many steps in turn, each of which takes `secs` seconds."""
    names: list[str] = []
    for number in range(steps):
        names.append((yield ctx.run(take_time, journal, f"step {number}", secs)))
    return names


@resonate.register
def together(ctx: Context) -> Generator[Any, Any, list[str]]:
    """Run two steps that end only if they run at the same time."""
    promises = []
    for _ in range(2):
        promises.append((yield ctx.begin_run(meet)))
    names = []
    for promise in promises:
        names.append((yield promise))
    return names


@resonate.register
def talkative(ctx: Context, secs: float) -> Generator[Any, Any, None]:
    """Log before and after a sleep, and in a step."""
    ctx.logger.info("falling asleep", extra={"mood": "tired"})
    yield ctx.sleep(secs)
    ctx.logger.info("awake")
    yield ctx.run(speak)
    ctx.logger.warning("done")


def speak(ctx: Context) -> None:
    logging.getLogger("shop").warning("in a step")
    ctx.logger.info("in a step, too")


def note(_: Context, journal: str, name: str) -> str:
    # One write appends the line completely or not at all.
    with Path(journal).open("a") as file:
        file.write(f"{name} {os.getpid()}\n")
    return name


def pass_gate(ctx: Context, journal: str, gate: str) -> str:
    note(ctx, journal, "second")
    deadline = time.monotonic() + PATIENCE
    while not Path(gate).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{gate} does not exist")
        time.sleep(0.01)
    return "second"


def take_time(ctx: Context, journal: str, name: str, secs: float) -> str:
    note(ctx, journal, name)
    time.sleep(secs)
    return name


def meet(_: Context) -> str:
    meeting.wait(PATIENCE)
    return threading.current_thread().name


handler = resonate.handler()
