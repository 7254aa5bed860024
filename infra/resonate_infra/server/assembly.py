"""The server, put together: a store, its clockwork, its messages, and the API in front of it."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec import Struct

from resonate_infra.effects.settings import SWEEP_INTERVAL_MS
from resonate_infra.effects.transports import Pusher
from resonate_infra.server.application import Admission, application
from resonate_infra.server.delivery import CONCURRENCY, Delivery, lambda_client_of, served_groups
from resonate_infra.server.files import limit_of_files, room_in
from resonate_infra.server.hub import Hub
from resonate_infra.server.lambdas import LambdaError, Lambdas, Mapped, mapped
from resonate_infra.server.listening import CannotListen, Uvicorn, listen
from resonate_infra.server.loop import WakeLoop
from resonate_infra.server.origins import allowed_host_of
from resonate_store.extras import MissingExtra, extra
from resonate_store.interface import StoreError
from resonate_store.model.clock import Clock, ambient
from resonate_store.model.records import PromiseView
from resonate_store.protocol.debug import EmbeddedDebug, RequestClock
from resonate_store.protocol.service import Service
from resonate_store.settings import SettingsError, groups_of, push_token_of

if TYPE_CHECKING:
    from resonate_infra.authentication import Authentication

PORT = 8001
"""Where official SDKs look for a server."""
STOP_TIMEOUT_S = 5.0
"""Seconds that requests and functions in progress are given when the server stops."""
PUSH_CONNECT_TIMEOUT_S = 10.0
"""Seconds to reach a worker over HTTP."""
OFFERS_APART_MS = 30_000
"""Pause between offers of a task that no worker takes, as in the official server: here an offer costs nothing."""
LOCAL_SWEEP_INTERVAL_MS = 1_000
"""The pause between two sweeps of a table where `AWS_ENDPOINT_URL` leads to something on this machine."""

logger = logging.getLogger("resonate.server")


class CannotServe(Exception):
    """The server cannot start; the message says why and what to do."""


class ServerOptions(Struct, frozen=True, kw_only=True):
    """How a server is set up.

    Attributes:
        host, port: where to listen, at every address of the host; any free port if 0.
        url: where workers reach the server, for the messages that ask them to; made of host and port if not given.
        data: the SQLite file that keeps the promises; they are in memory if not given.
        table: the DynamoDB table that keeps them instead, at `AWS_ENDPOINT_URL` or in AWS.
        retention: seconds for which the table keeps a settled execution.
        lambdas: functions to run in process, each `group=module:handler`.
        lambda_timeout: seconds that an invocation of one has.
        groups: which push address serves a worker group; those of `RESONATE_GROUPS` if not given.
        push_token: the secret that is shown to workers over HTTP; that of `RESONATE_PUSH_TOKEN` if not given.
        push_timeout: seconds to wait for a worker's reply over HTTP.
        origins: pages of these origins may call the server; "*" for all.
        allowed_hosts: names under which the server is called, besides loopback, `host` and that of `url`; "*" for all.
            Where tokens are asked for, it may be called by any name.
        debug: whether requests may move the clock and look inside.
        auth_key: the public key of those who sign tokens, in PEM or as the name of a file that holds it; "none" to take
            any token for genuine; without it, nobody needs a token.
        auth_issuer, auth_audience: what a token has to say of where it is from, and for whom.
    """

    host: str = "localhost"
    port: int = PORT
    url: str | None = None
    data: str | None = None
    table: str | None = None
    retention: int = 30 * 86_400
    lambdas: tuple[str, ...] = ()
    lambda_timeout: float = 60.0
    groups: Mapping[str, str] | None = None
    push_token: str | None = None
    push_timeout: float = 180.0
    origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    debug: bool = False
    auth_key: str | None = None
    auth_issuer: str | None = None
    auth_audience: str | None = None


class Server:
    """A server that listens, and serves when `run` is called.

    Args:
        options: how it is set up.
        clock: the source of time.

    Attributes:
        port: where it listens, also if that was left open.
        url: where it is reached.
        store: where the promises are.

    Raises:
        CannotServe: it cannot listen there, has no store, or an option is wrong.
    """

    def __init__(self, options: ServerOptions, clock: Clock | None = None) -> None:
        timed = RequestClock(clock or ambient())
        functions, groups, token = _checked(options)
        hosts = _hosts(options)
        guard = _guard(options, timed)
        try:
            self._sockets = listen(options.host, options.port)
        except CannotListen as error:
            raise CannotServe(str(error)) from error
        self.port: int = self._sockets[0].getsockname()[1]
        self.url = options.url or f"http://{_shown(options.host)}:{self.port}"
        try:
            self.store = _store(options, timed)
        except StoreError as error:
            self._close_sockets()
            raise CannotServe(str(error)) from error
        self._clock = timed
        room = room_in(limit_of_files())
        self._hub = Hub(limit=room.streams)
        self._lambdas = Lambdas(functions, timed, options.lambda_timeout)
        pusher = Pusher(
            token=token,
            connect_timeout_s=PUSH_CONNECT_TIMEOUT_S,
            read_timeout_s=options.push_timeout,
            width=CONCURRENCY,
        )
        routes, client = served_groups(functions, groups), lambda_client_of(os.environ, options.table)
        self._delivery = Delivery(self.url, self._hub, self._lambdas, routes, pusher, client)
        self._delivery.serve(self.store)
        self.store.subscribe(send=self._delivery.send)
        debug = EmbeddedDebug(self.store, timed, lambda: self._loop.nudge()) if options.debug else None
        self._loop = WakeLoop(self.store, timed, lambda: debug is not None and debug.paused)
        self._shares = options.table is not None
        self._failure: LambdaError | None = None
        self._on_ready: Callable[[], object] = lambda: None
        app = application(
            Service(self.store, guard=guard, debug=debug, workers=self._workers, clock=timed).answer,
            self.store.ready,
            self._hub,
            authenticate=None if guard is None else functools.partial(_admission, guard, timed),
            origins=options.origins,
            hosts=hosts,
        )
        self._uvicorn = Uvicorn(
            app,
            STOP_TIMEOUT_S,
            self._on_listening,
            self._on_stopping,
            connections=room.connections,
            backlog=room.backlog,
        )

    def run(self, on_ready: Callable[[], object] = lambda: None) -> None:
        """Serve until `stop` is called or, in the main thread, the process is interrupted or terminated.

        Args:
            on_ready: called, in another thread, once requests are answered and the functions are imported.

        Raises:
            CannotServe: a function could not be imported.
        """
        self._on_ready = on_ready
        try:
            self._uvicorn.run(self._sockets)
        finally:
            self.close()
        if self._failure is not None:
            raise CannotServe(str(self._failure)) from self._failure

    def stop(self) -> None:
        """End `run`, from any thread."""
        self._uvicorn.should_exit = True

    def close(self) -> None:
        """Give back port and store; `run` does it at its end."""
        self._close_sockets()
        self._loop.stop(STOP_TIMEOUT_S)
        self._delivery.close(0)
        self.store.close()

    @contextlib.contextmanager
    def running(self) -> Generator[Server]:
        """Serve in a thread for as long as the block runs."""
        thread = threading.Thread(target=self.run, name="resonate-server", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.stop()
            thread.join()

    def _on_listening(self) -> None:
        threading.Thread(target=self._begin, name="resonate-begin", daemon=True).start()

    def _begin(self) -> None:
        # A module may call us while it is imported, so that comes after we answer, and before anything is due.
        try:
            self._lambdas.load(self.url)
        except LambdaError as error:
            self._failure = error
            self.stop()
            return
        self._on_ready()
        self._loop.start()
        if self._shares:
            try:
                self._delivery.recall(self.store, self._clock.now())
            except StoreError as error:
                logger.error("what was on offer is offered again only when it is due: %s", error)

    def _on_stopping(self) -> None:
        self._hub.close()
        if not self._lambdas.close(STOP_TIMEOUT_S):
            logger.warning("a function still runs and is left behind; its task is offered again when its lease ends")

    def _workers(self, promise: PromiseView) -> int | None:
        """Return how many workers poll for the task of a promise; None if it is not known here."""
        workers = self._delivery.workers(promise)
        return None if workers == 0 and self._shares else workers  # another server may have some

    def _close_sockets(self) -> None:
        for each in self._sockets:
            each.close()


def _checked(options: ServerOptions) -> tuple[dict[str, Mapped], Mapping[str, str], str | None]:
    """The functions, groups and push token that options and environment ask for."""
    if options.table and options.data:
        raise CannotServe("promises are kept in a file or in a table: give one of both")
    if options.table and options.debug:
        raise CannotServe("debug requests empty the store and stop its clock: not over a table that others use")
    try:
        functions = [mapped(text) for text in options.lambdas]
        groups = groups_of(os.environ) or {} if options.groups is None else options.groups
        token = options.push_token or push_token_of(os.environ)
    except (LambdaError, SettingsError) as error:
        raise CannotServe(str(error)) from error
    return {function.name: function for function in functions}, groups, token


def _guard(options: ServerOptions, clock: Clock) -> Authentication | None:
    if options.auth_key is None:
        return None
    from resonate_infra.authentication import UNVERIFIED, Authentication

    key = options.auth_key
    try:
        if key != UNVERIFIED and "-----BEGIN" not in key:
            key = Path(key).read_text()
        return Authentication(
            key, issuer=options.auth_issuer, audience=options.auth_audience, clock=clock, development=True
        )
    except (OSError, UnicodeError, SettingsError) as error:
        raise CannotServe(f"the public key cannot be used: {error}") from error


def _hosts(options: ServerOptions) -> tuple[str, ...] | None:
    """The names under which the server may be called; None if a token that a page cannot have decides instead.

    Raises:
        CannotServe: an allowed host or the url is malformed.
    """
    allowed: list[str] = []
    for text in options.allowed_hosts:
        if (host := allowed_host_of(text)) is None:
            raise CannotServe(
                f"--allow-host names {text!r}: give the name of a host without scheme, path or wildcard, such as"
                " resonate or resonate.example.com, or * for any"
            )
        allowed.append(host)
    if options.auth_key is not None and options.auth_key.strip() != "none":
        return None
    try:
        named = urlsplit(options.url or "").hostname
    except ValueError as error:
        raise CannotServe(f"the url {options.url!r} is not an address such as http://localhost:8001: {error}") from None
    return (options.host, *([named] if named else []), *allowed)


def _admission(guard: Authentication, clock: Clock, authorization: str | None) -> Admission:
    """What the bearer of an `Authorization` header may hear, and for how long.

    Raises:
        Refused: it holds no valid token, or one that may nothing.
    """
    scheme, _, token = (authorization or "").partition(" ")
    permission = guard.admit(token.strip() if scheme.lower() == "bearer" else None)
    return Admission(permission.prefix, lambda: (permission.expires_at - clock.now()) / 1000)


def _store(options: ServerOptions, clock: Clock) -> Any:
    if not options.table:
        from resonate_store.local.sqlite import SqliteStore

        store = SqliteStore(options.data or ":memory:", clock)
        store.offers_apart_ms = OFFERS_APART_MS
        return store
    try:
        with extra("aws,cli", "a table"):
            from resonate_infra.server.table import TableStore
            from resonate_store.dynamo.large_values import Payloads
            from resonate_store.dynamo.store import DynamoStore
    except MissingExtra as error:
        raise StoreError(str(error)) from error
    local = any(os.environ.get(name) for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"))
    table = DynamoStore(options.table, clock=clock, payloads=Payloads.of(os.environ, options.table))
    table.record("ready")  # better to find out now that it is not there
    return TableStore(table, LOCAL_SWEEP_INTERVAL_MS if local else SWEEP_INTERVAL_MS, options.retention)


def _shown(host: str) -> str:
    """A host as clients on this machine write it."""
    if host in ("", "0.0.0.0", "::"):
        return "localhost"
    return f"[{host}]" if ":" in host else host
