"""The three ways in which a workflow test runs, with the same outcome: what holds in memory holds deployed, too.

- "memory": a worker over a store in memory, or a connection to one.
- "offline": the functions of `template.yaml` on the offline stack, whose processes last.
- "forgetful": the same, with every process lost after each of its invocations.

A test is marked with `three_ways` and takes the fixture `driver`, which begins executions and lets a worker finish
them, or `connect`, or `resonate`, which make the client of a program: what that `run`s is begun in its own process and
continued by the deployed worker, what it calls by `rpc` is the worker's alone. See `tests/unit/sdk/conftest.py`.

What asks how often a request was made, or about threads, or about something that is only there in memory, is not
marked, and runs in memory.
"""

from __future__ import annotations

import os

import pytest

WAYS = ["memory", "offline", "forgetful"]

# Between them, these give every command, and end in every way. A process that is lost asks more of a worker than one
# that lasts.
always_three_ways = pytest.mark.parametrize(
    "way", WAYS if "RESONATE_CI" in os.environ else ["memory", "forgetful"], indirect=True
)
three_ways = pytest.mark.parametrize("way", WAYS if "RESONATE_THREE_WAYS" in os.environ else WAYS[:1], indirect=True)
"""The test holds in all three ways; those on the stack take a while, so they are tried when the environment asks, as
continuous integration does."""
