"""Worker function: example workflows, and the handler that runs their tasks.

Replace the workflows by your own. Locally, this file is a module like any other. `Resonate()` keeps promises in memory,
unless `RESONATE_TABLE` names a table or `RESONATE_URL` a server.
"""

from collections.abc import Generator
from typing import Any

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def sleeping_workflow(ctx: Context, wf_id: str, secs: float) -> Generator[Any, Any, str]:
    print(f"Workflow {wf_id} starting, will sleep for {secs} seconds.")
    yield ctx.sleep(secs)
    return f"Workflow {wf_id} completed after sleeping for {secs} seconds."


@resonate.register
def hello_world(ctx: Context, greetee: str) -> Generator[Any, Any, str]:
    greeting = yield ctx.run(greet, greetee)
    return f"{greeting}!"


def greet(ctx: Context, greetee: str) -> str:
    return f"Hello {greetee}"


@resonate.register
def factorial(ctx: Context, n: int) -> Generator[Any, Any, int]:
    if n <= 1:
        return 1
    below = yield ctx.rpc("factorial", n - 1)
    return n * below


handler = resonate.handler()
