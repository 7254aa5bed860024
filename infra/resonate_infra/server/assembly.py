"""Assembly of the development server: a store, its wake loop, the delivery of its messages, and the API."""

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
from resonate_infra.server.answering import InThreads, OnTheLoop, Together
from resonate_infra.server.application import Admission, application
from resonate_infra.server.delivery import CONCURRENCY, ServerDelivery, ServerWorkers, lambda_client_of, served_groups
from resonate_infra.server.files import limit_of_files, room_in
from resonate_infra.server.hub import Hub
from resonate_infra.server.lambdas import LambdaError, Lambdas, Mapped, mapped
from resonate_infra.server.listening import CannotListen, Uvicorn, listen
from resonate_infra.server.loop import WakeLoop
from resonate_infra.server.origins import allowed_host_of
from resonate_infra.server.reloading.reloader import Reloader
from resonate_store.extras import MissingExtra, extra
from resonate_store.interface import StoreError
from resonate_store.model.clock import Clock, ambient
from resonate_store.model.records import PromiseView
from resonate_store.model.servers import ServerSettings
from resonate_store.protocol.debug import EmbeddedDebug, RequestClock
from resonate_store.protocol.service import Service
from resonate_store.settings import SettingsError, groups_of, push_token_of

if TYPE_CHECKING:
    from resonate_infra.authentication import Authentication

PORT = 8001
"""The default port of the server. The official SDKs connect to it."""
STOP_TIMEOUT_S = 5.0
"""Seconds that the server waits for requests and functions in progress when it stops."""
PUSH_CONNECT_TIMEOUT_S = 10.0
"""Maximum seconds to connect to a worker over HTTP."""
OFFERS_APART_MS = 30_000
"""Milliseconds between offers of a task that no worker acquires, as in the official server. Offers are free here."""
LOCAL_SWEEP_INTERVAL_MS = 1_000
"""Milliseconds between two sweeps of a table that is not in AWS: `AWS_ENDPOINT_URL` names its server."""

logger = logging.getLogger("resonate.server")


class CannotServe(Exception):
    """The server cannot start; the message says why and what to do."""


class ServerOptions(Struct, frozen=True, kw_only=True):
    """Options of a server.

    Attributes:
        host: the name or address to listen at. The server listens at every address of the host.
        port: the port to listen at. 0 selects a free port.
        url: the address of this server in messages to workers. Default: made of host and port.
        data: the SQLite file with the promises. Default: the promises are in memory.
        table: the DynamoDB table with the promises, at `AWS_ENDPOINT_URL` or in AWS. Not together with `data`.
        retention: how long the table keeps a settled execution, in seconds.
        lambdas: functions that run in this process, each as `group=module:handler`.
        lambda_timeout: how long an invocation of such a function has, in seconds.
        reload: whether these functions are imported anew when their sources change.
        groups: the push address of each worker group. Default: `RESONATE_GROUPS`.
        push_token: the secret that HTTP pushes to workers carry. Default: `RESONATE_PUSH_TOKEN`.
        push_timeout: maximum seconds to wait for a worker's response to a push.
        origins: pages of these origins may call the server. "*" admits all.
        allowed_hosts: names by which requests may call the server, in addition to loopback, `host` and the host of
            `url`. "*" admits all. If callers need tokens, every name is admitted.
        debug: whether debug requests are admitted, which move the clock and return the content of the store.
        auth_key: the public key that verifies tokens, in PEM or as the name of a file. "none" accepts tokens without a
            check of their signature. Default: callers need no token.
        auth_issuer, auth_audience: the claims `iss` and `aud` that a token must have.
    """

    host: str = "localhost"
    port: int = PORT
    url: str | None = None
    data: str | None = None
    table: str | None = None
    retention: int = 30 * 86_400
    lambdas: tuple[str, ...] = ()
    lambda_timeout: float = 60.0
    reload: bool = False
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
    """Development server. It listens when it is created, and serves when `run` is called.

    Args:
        options: the options.
        clock: the source of time. Default: the clock of the process.

    Attributes:
        port: the port that it listens at, also if the options asked for any free port.
        url: the address of the server.
        store: the store with the promises.

    Raises:
        CannotServe: the server cannot listen, the store cannot be opened, or an option is invalid.
    """

    def __init__(self, options: ServerOptions, clock: Clock | None = None) -> None:
        timed = RequestClock(clock or ambient())
        functions, groups, token = _checked(options)
        hosts = _hosts(options)
        guard = _guard(options, timed)
        self._lambdas = Lambdas(functions, timed, options.lambda_timeout, reloads=options.reload)
        self._reloader = _reloader(options, self._lambdas)
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
        pusher = Pusher(
            token=token,
            connect_timeout_s=PUSH_CONNECT_TIMEOUT_S,
            read_timeout_s=options.push_timeout,
            width=CONCURRENCY,
        )
        routes, client = served_groups(functions, groups), lambda_client_of(os.environ, options.table)
        self._delivery = ServerDelivery(self.url, self._hub, self._lambdas, routes, pusher, client)
        self._delivery.serve(self.store)
        self.store.subscribe(send=self._delivery.send)
        debug = EmbeddedDebug(self.store, timed, lambda: self._loop.nudge()) if options.debug else None
        self._loop = WakeLoop(self.store, timed, lambda: debug is not None and debug.paused)
        self._shares = options.table is not None
        self._failure: LambdaError | None = None
        self._on_ready: Callable[[], object] = lambda: None
        directory = ServerWorkers(self._hub, self._lambdas, routes)
        service = Service(self.store, guard=guard, debug=debug, workers=self._workers, directory=directory, clock=timed)
        self._answering = _answering(service, self.store, options, timed)
        app = application(
            self._answering,
            self.store.ready,
            self._hub,
            authenticate=None if guard is None else functools.partial(_admission, guard, timed),
            origins=options.origins,
            hosts=hosts,
            console=functools.partial(_console, service, self.url, options, timed, _named_hosts(options)),
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
        """Serve until `stop` is called. In the main thread, SIGINT and SIGTERM end it too.

        Args:
            on_ready: called in another thread when requests are answered and the functions are imported.

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
        """End `run`. Any thread may call it."""
        self._uvicorn.should_exit = True

    def close(self) -> None:
        """Close the port and the store. `run` calls it at its end."""
        self._close_sockets()
        self._answering.close()
        self._loop.stop(STOP_TIMEOUT_S)
        self._delivery.close(0)
        self.store.close()

    @contextlib.contextmanager
    def running(self) -> Generator[Server]:
        """Serve in a thread while the block runs."""
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
        # A module may call this server while it is imported. So import when requests are answered, before timers fire.
        if self._reloader is not None:
            self._reloader.start()
        try:
            self._lambdas.load(self.url)
        except LambdaError as error:
            if self._reloader is None:
                self._failure = error
                self.stop()
                return
            self._reloader.failed(error)
        self._on_ready()
        self._loop.start()
        if self._shares:
            try:
                self._delivery.recall(self.store, self._clock.now())
            except StoreError as error:
                logger.error("tasks of an earlier server are offered again only when they are due: %s", error)

    def _on_stopping(self) -> None:
        self._hub.close()
        if self._reloader is not None:
            self._reloader.close(STOP_TIMEOUT_S)
        if not self._lambdas.close(STOP_TIMEOUT_S):
            logger.warning("a function still runs and is abandoned; its task is offered again when its lease ends")

    def _workers(self, promise: PromiseView) -> int | None:
        """Return how many workers poll for the task of a promise. Return None if this server cannot know it."""
        workers = self._delivery.workers(promise)
        return None if workers == 0 and self._shares else workers  # Workers may poll another server of the table.

    def _close_sockets(self) -> None:
        for each in self._sockets:
            each.close()


def _console(service: Service, url: str, options: ServerOptions, clock: Clock, hosts: tuple[str, ...]) -> Any:
    """Return the console of a server. It calls the server's service in this process."""
    from resonate_infra.console.application import console  # here, because only the first visit needs templates
    from resonate_infra.console.backend import ServerBackend, post_to

    where = f"the table {options.table}" if options.table else options.data or "in memory"
    backend = ServerBackend(
        ServerSettings(url, url),
        f"Promises: {where}",
        clock,
        asks_for_token=options.auth_key is not None,
        post=post_to(service.answer),
    )
    return console(backend, hosts)


def _checked(options: ServerOptions) -> tuple[dict[str, Mapped], Mapping[str, str], str | None]:
    """Return the functions, the groups and the push token of options and environment.

    Raises:
        CannotServe: an option or a variable is invalid.
    """
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


def _reloader(options: ServerOptions, lambdas: Lambdas) -> Reloader | None:
    """Return what imports the functions anew.

    Raises:
        CannotServe: a function or the package that watches files is missing.
    """
    if not options.reload:
        return None
    if not options.lambdas:
        raise CannotServe("there is nothing to reload: name a handler with --lambda GROUP=MODULE:HANDLER")
    try:
        return Reloader(lambdas)
    except MissingExtra as error:
        raise CannotServe(str(error)) from error


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
    """Return the names by which the server may be called. Return None if callers need tokens, which pages do not have.

    Raises:
        CannotServe: an allowed host or the url is malformed.
    """
    named = _named_hosts(options)
    return None if options.auth_key is not None and options.auth_key.strip() != "none" else named


def _named_hosts(options: ServerOptions) -> tuple[str, ...]:
    """Return the names of the server that the options give.

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
    try:
        named = urlsplit(options.url or "").hostname
    except ValueError as error:
        raise CannotServe(f"the url {options.url!r} is not an address such as http://localhost:8001: {error}") from None
    return (options.host, *([named] if named else []), *allowed)


def _admission(guard: Authentication, clock: Clock, authorization: str | None) -> Admission:
    """Return which messages an `Authorization` header permits, and for how long.

    Raises:
        Refused: the header has no valid token, or the token permits nothing.
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
            from resonate_store.aws.clients import require_libraries
            from resonate_store.dynamo.large_values import Payloads
            from resonate_store.dynamo.store import DynamoStore

            require_libraries()
    except MissingExtra as error:
        raise StoreError(str(error)) from error
    local = any(os.environ.get(name) for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"))
    table = DynamoStore(options.table, clock=clock, payloads=Payloads.of(os.environ, options.table))
    table.record("ready")  # Raises an error now if the table does not exist.
    return TableStore(table, LOCAL_SWEEP_INTERVAL_MS if local else SWEEP_INTERVAL_MS, options.retention)


def _answering(service: Service, store: Any, options: ServerOptions, clock: Clock) -> InThreads:
    """Return what answers the requests. Debug requests change the time of other requests, so these get threads."""
    if options.table or options.debug:
        return InThreads(service.answer)
    if options.data:
        return Together(service.answer, store, clock)
    return OnTheLoop(service.answer, store)


def _shown(host: str) -> str:
    """Return a host as clients on this machine write it in a URL."""
    if host in ("", "0.0.0.0", "::"):
        return "localhost"
    return f"[{host}]" if ":" in host else host
