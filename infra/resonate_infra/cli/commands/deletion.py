"""`resonate delete`: delete an execution before its retention ends.

A development server deletes on request. A deployed API does not: there a deletion needs the table and its bucket.
"""

from __future__ import annotations

from typing import Annotated

import typer

from resonate_infra.cli.completion import ExecutionId
from resonate_infra.cli.display import write_json
from resonate_infra.cli.session import Session, connected
from resonate_infra.inspection.exits import Failure, code_for
from resonate_infra.text import plain
from resonate_store.model.execution_requests import ExecutionDelete
from resonate_store.model.requests import PromiseGet, PromiseSettle, Response


@connected
def delete(
    session: Session,
    id: ExecutionId,
    force: Annotated[bool, typer.Option("--force", help="Cancel it first if it is pending.")] = False,
) -> None:
    """Delete an execution that has ended, and everything below it.

    Detached calls are not deleted, nor are executions that it has started with ids of their own.
    """
    write_deleted(session, id, force)


def write_deleted(session: Session, id: str, force: bool) -> None:
    """Delete an execution, and write how many promises were deleted.

    Raises:
        Failure: it does not exist, is pending, or cannot be deleted here.
    """
    response = deleted(session, id, force)
    if not response.ok:
        raise Failure(str(response.error), code_for(response.status))
    count = response.count or 0
    if session.as_json:
        write_json({"id": id, "deleted": count})
    else:
        print(f"deleted {plain(id)} and {count - 1} promises below it")


def deleted(session: Session, id: str, force: bool) -> Response:
    """Delete an execution and return the response. With `force`, cancel it first if it is pending."""
    if force:
        promise = session.store.apply(PromiseGet(id)).promise
        if promise is not None and promise.pending:
            session.store.apply(PromiseSettle(id, "rejected_canceled"))
    return session.store.apply(ExecutionDelete(id))
