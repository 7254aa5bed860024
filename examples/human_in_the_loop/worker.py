"""Workflow that waits for a human, and occupies no process meanwhile."""

import os
from collections.abc import Generator
from threading import Event
from typing import Any
from urllib.parse import quote

from resonate import Context, Resonate

GATEWAY = os.environ.get("GATEWAY_URL", "http://localhost:5001")

resonate = Resonate.remote(group="worker")


@resonate.register
def foo(ctx: Context, workflow_id: str) -> Generator[Any, Any, dict[str, str]]:
    blocking = yield ctx.promise()
    yield ctx.run(send_email, blocking.id)
    print(f"workflow {workflow_id} is blocked until somebody follows the link")
    yield blocking
    print(f"workflow {workflow_id} is unblocked")
    return {"message": f"workflow {workflow_id} completed"}


def send_email(_: Context, promise_id: str) -> None:
    print(f"email: follow {GATEWAY}/unblock-workflow?promise_id={quote(promise_id, safe='')}")


resonate.start()
print("worker is running...")
Event().wait()
