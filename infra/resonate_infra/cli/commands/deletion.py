"""`resonate delete`: delete an execution before its retention ends.

The protocol has no request for it. So a deletion needs write access to the table and its bucket, not to the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from resonate_infra.cli.display import write_json
from resonate_infra.cli.exits import USAGE, Failure
from resonate_infra.cli.parameters import Id
from resonate_infra.cli.session import Session, connected
from resonate_store.model.requests import PromiseGet, PromiseSettle

if TYPE_CHECKING:
    from resonate_store.dynamo.store import DynamoStore


@connected
def delete(
    session: Session,
    id: Id,
    force: Annotated[bool, typer.Option("--force", help="Cancel it first if it is pending.")] = False,
) -> None:
    """Delete an execution that has ended, and everything below it. Needs --table.

    Detached calls are not deleted, nor are executions that it has started with ids of their own.
    """
    if session.table is None:
        raise Failure("deleting needs the table, the protocol has no such request: give --table", USAGE)
    from resonate_store.dynamo.deletion import NotDeletable

    promise = session.ask(PromiseGet(id)).promise
    if force and promise is not None and promise.pending:
        session.ask(PromiseSettle(id, "rejected_canceled"))
    try:
        deleted = cast("DynamoStore", session.store).delete_execution(id)
    except NotDeletable as error:
        raise Failure(str(error)) from None
    if session.as_json:
        write_json({"id": id, "deleted": deleted})
    else:
        print(f"deleted {id} and {deleted - 1} promises below it")
