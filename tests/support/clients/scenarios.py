"""What every official SDK is put through, with the same workflow written in each of them.

A worker reserves (`ctx.run`), asks another task for a price (`ctx.rpc`), sleeps, waits for somebody's approval
(`ctx.promise`), detaches an audit (`ctx.detached`) and returns. Each step prints a line when it really runs. A worker
that is started with `STUCK` holds short leases, and never comes to the end of the step that asks for the approval.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.support.environments import Process, Surroundings

RESULT = {"item": "lamp", "price": 42, "approvedBy": "ana"}

STUCK = "stuck"

Command = Callable[[str], list[str | Path]]
"""The command of a worker, or of a client, given the server's URL."""


def completes(surroundings: Surroundings, worker: Command, client: Command, cwd: Path) -> None:
    """An execution from beginning to end; asking again has the stored result and runs nothing."""
    working = surroundings.start(*worker(surroundings.url), cwd=cwd)
    working.line("ready")
    asking = surroundings.start(*client(surroundings.url), cwd=cwd)
    approval = working.line("approve ")
    surroundings.resolve(approval, {"by": "ana"})
    assert result_of(asking) == RESULT
    working.line("audit lamp by ana")

    assert result_of(surroundings.start(*client(surroundings.url), cwd=cwd)) == RESULT
    ran = [line for line in working.lines if line != "ready"]
    assert ran == ["reserve lamp", "price 7", f"approve {approval}", "audit lamp by ana"]


def survives_its_worker(surroundings: Surroundings, worker: Command, client: Command, cwd: Path) -> None:
    """The worker is killed while its workflow waits; the next one finishes, and repeats nothing that was done."""
    first = surroundings.start(*worker(surroundings.url), cwd=cwd)
    first.line("ready")
    asking = surroundings.start(*client(surroundings.url), cwd=cwd)
    approval = first.line("approve ")
    first.kill()

    surroundings.resolve(approval, {"by": "ana"})
    second = surroundings.start(*worker(surroundings.url), cwd=cwd)
    assert result_of(asking) == RESULT
    second.line("audit lamp by ana")
    assert not {"reserve lamp", "price 7"} & set(second.lines)


def survives_its_worker_in_a_step(surroundings: Surroundings, worker: Command, client: Command, cwd: Path) -> None:
    """The worker is killed in the middle of a step: the next one runs that step again, and none that was done."""
    first = surroundings.start(*worker(surroundings.url), STUCK, cwd=cwd)
    first.line("ready")
    asking = surroundings.start(*client(surroundings.url), cwd=cwd)
    approval = first.line("approve ")
    first.kill()

    second = surroundings.start(*worker(surroundings.url), cwd=cwd)
    assert second.line("approve ") == approval
    surroundings.resolve(approval, {"by": "ana"})
    assert result_of(asking) == RESULT
    second.line("audit lamp by ana")
    assert second.lines == ["ready", f"approve {approval}", "audit lamp by ana"]


def survives_the_server(surroundings: Surroundings, worker: Command, client: Command, cwd: Path) -> None:
    """The server is killed while a workflow sleeps; another one takes its file over, and workers come back to it."""
    working = surroundings.start(*worker(surroundings.url), cwd=cwd)
    working.line("ready")
    asking = surroundings.start(*client(surroundings.url), cwd=cwd)
    working.line("price 7")
    surroundings.server.kill()
    surroundings.serve()

    surroundings.resolve(working.line("approve "), {"by": "ana"})
    assert result_of(surroundings.start(*client(surroundings.url), cwd=cwd)) == RESULT
    asking.kill()
    assert working.lines.count("reserve lamp") == 1


def result_of(client: Process) -> object:
    """What a client prints, once it has ended well."""
    assert client.end() == 0, "\n".join(client.lines)
    return json.loads(client.lines[-1])
