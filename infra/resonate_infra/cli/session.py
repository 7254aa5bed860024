"""Connection of a command to a server or a table.

`connected` adds the options of `connection` to a command, and passes it a `Session` made of them.
"""

from __future__ import annotations

import inspect
import os
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from resonate_infra.cli.connection import OPTIONS, shared_parameters
from resonate_infra.cli.parameters import help_of
from resonate_infra.inspection.exits import USAGE, Failure
from resonate_infra.inspection.session import StoreSession

if TYPE_CHECKING:
    from resonate_store.dynamo.store import DynamoStore
    from resonate_store.interface import Store
    from resonate_store.model.clock import Clock
    from resonate_store.model.servers import ServerSettings
    from resonate_store.remote.store import HttpStore


class Session(StoreSession):
    """Connection of one command.

    Args:
        url, table, token: the options of the command line. Environment variables replace missing ones.
        as_json: whether the output is JSON.
        raw: whether payloads are shown as they are stored.

    Raises:
        Failure: both `url` and `table` are given.
    """

    def __init__(self, url: str | None, table: str | None, token: str | None, as_json: bool, raw: bool) -> None:
        if url is not None and table is not None:
            raise Failure("promises are at --url or in --table: give one of both", USAGE)
        self.table = table if table is not None or url is not None else os.environ.get("RESONATE_TABLE") or None
        options = {"--url": url, "--table": table}
        self.connection = " ".join(f"{option} {shlex.quote(text)}" for option, text in options.items() if text)
        """The options that name the server or the table, for a command that is shown to people. It has no token."""
        self.as_json = as_json
        self.raw = raw
        self._url = url
        self._token = token
        self._store: DynamoStore | HttpStore | None = None

    @property
    def clock(self) -> Clock:
        """The source of time."""
        from resonate_store.model.clock import ambient

        return ambient()

    @property
    def store(self) -> Store:
        """The store with the promises, opened at the first use.

        Raises:
            Failure: an option or a variable is malformed, or AWS's libraries are missing.
        """
        if self._store is None:
            self._store = self._remote() if self.table is None else self._table()
        return self._store

    @property
    def server(self) -> ServerSettings:
        """The address and the credentials of the server. Only for a session without a table."""
        distant = self.store.distant
        assert distant is not None, "a session without a table has a server"
        return distant.server

    @property
    def where(self) -> str:
        """The server or the table, as text for people."""
        if self.table is not None:
            return f"the table {self.table}"
        distant = self.store.distant
        return "a server" if distant is None else f"the server {distant.server.url}"

    def persist(self) -> None:
        """Repeat HTTP requests that fail in transit, from now on."""
        from resonate_store.remote.store import HttpStore

        if isinstance(self._store, HttpStore):
            self._store.insistent = True

    def _table(self) -> DynamoStore:
        from resonate_store.extras import MissingExtra, extra
        from resonate_store.settings import SettingsError, groups_of

        _quieten("resonate.aws", "botocore")
        table = str(self.table)
        try:
            with extra("aws,cli", "a table"):
                from resonate_store.aws.clients import require_libraries
                from resonate_store.delivery.environment import delivery_of
                from resonate_store.dynamo.large_values import Payloads
                from resonate_store.dynamo.store import DynamoStore

                require_libraries()
            groups, payloads = groups_of(os.environ), Payloads.of(os.environ, table)
            delivery = delivery_of(os.environ, self.clock)
        except MissingExtra as error:
            raise Failure(str(error)) from error
        except SettingsError as error:
            raise Failure(str(error), USAGE) from error
        return DynamoStore(table, clock=self.clock, groups=groups, payloads=payloads, delivery=delivery)

    def _remote(self) -> HttpStore:
        from resonate_store.remote.store import HttpStore

        _quieten("resonate", "urllib3")
        try:
            store = HttpStore(self._url, token=self._token, clock=self.clock)
        except (TypeError, ValueError) as error:
            raise Failure(str(error), USAGE) from error
        store.insistent = False  # Report an unreachable server at once.
        return store


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command whose first parameter is a `Session`: add the options of connection and output."""
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "session"]
    parameters = shared_parameters()

    def run(ctx: typer.Context, **given: Any) -> None:
        in_front: dict[str, Any] = ctx.find_root().obj or {}
        shared: dict[str, Any] = {name: given.pop(name) or in_front.get(name) for name in OPTIONS}
        session = Session(**shared)
        command(session, **given)

    run.__name__, run.__doc__, run.__module__ = command.__name__, help_of(command), command.__module__
    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    run.__signature__ = inspect.Signature([context, *own, *parameters])  # pyright: ignore[reportFunctionMemberAccess]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (context, *own, *parameters)}
    return run


def _quieten(*loggers: str) -> None:
    """Turn off log lines of libraries, which do not belong in the output of a command."""
    import logging

    for name in loggers:
        logging.getLogger(name).setLevel(logging.CRITICAL)
