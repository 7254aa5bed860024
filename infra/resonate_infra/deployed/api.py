"""Deployed API: the protocol's service over the table, and its access control.

With a public key, callers need a token. Without a public key, API Gateway requires AWS credentials (IAM). The API then
also refuses a request whose event names no AWS caller, in case the stage was deployed without IAM. `sam local
start-api` checks no credentials and sets `AWS_SAM_LOCAL`. Requests are admitted there.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from resonate_infra.effects.settings import is_on, origins_of, retention_of
from resonate_store.delivery.environment import delivery_of
from resonate_store.dynamo.large_values import S3_REQUESTS, Payloads
from resonate_store.dynamo.store import DynamoStore
from resonate_store.interface import StoreError
from resonate_store.model.clock import ambient
from resonate_store.model.execution_requests import ExecutionDelete
from resonate_store.model.requests import PromiseGet
from resonate_store.protocol.debug import RequestClock
from resonate_store.protocol.service import Service
from resonate_store.protocol.workers import AnnouncedWorker, WorkerView
from resonate_store.settings import SettingsError, groups_of, number_of

if TYPE_CHECKING:
    from resonate_infra.authentication import Authentication
    from resonate_infra.deployed.debugging import TableDebug

logger = logging.getLogger("resonate.api")

_PROBE = PromiseGet("resonate:ready")
"""Request for a promise that does not exist. Any response below 500 means that the table answers."""
_REFUSED = (ExecutionDelete.kind,)
"""A token gives no right to delete what has happened: that needs the right to delete items of the table."""


class ApiSettings(Struct, frozen=True, kw_only=True):
    """Settings of the API function.

    Attributes:
        table: the name of the DynamoDB table, `RESONATE_TABLE`.
        groups: the push address of each worker group, `RESONATE_GROUPS`. A target without a push address is refused.
        public_key: verifies tokens, `RESONATE_AUTH_PUBLIC_KEY`. None if API Gateway requires AWS credentials.
        issuer, audience: the claims `iss` and `aud` of valid tokens, `RESONATE_AUTH_ISS` and `RESONATE_AUTH_AUD`.
        origins: the origins of pages that may call the API, or `*` for all. `RESONATE_CORS_ORIGINS`, separated by
            commas.
        debug_requests: whether requests may stop the deployment, move its clock and empty its table,
            `RESONATE_DEBUG_REQUESTS`.
        retention_s: how long a settled execution is kept, in seconds, `RESONATE_RETENTION_SECONDS`. Used only by debug
            requests; 0 without them.
    """

    table: str
    groups: dict[str, str]
    public_key: str | None = None
    issuer: str | None = None
    audience: str | None = None
    origins: tuple[str, ...] = ()
    debug_requests: bool = False
    retention_s: int = 0

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> ApiSettings:
        """Return the settings that environment variables contain.

        Raises:
            SettingsError: a variable is missing or malformed.
        """
        table = environment.get("RESONATE_TABLE")
        if not table:
            raise SettingsError("the environment lacks RESONATE_TABLE: template.yaml sets it")
        debug_requests = is_on(environment, "RESONATE_DEBUG_REQUESTS")
        return cls(
            table=table,
            groups=groups_of(environment) or {},
            public_key=environment.get("RESONATE_AUTH_PUBLIC_KEY") or None,
            issuer=environment.get("RESONATE_AUTH_ISS") or None,
            audience=environment.get("RESONATE_AUTH_AUD") or None,
            origins=origins_of(environment.get("RESONATE_CORS_ORIGINS", "").split(","), "RESONATE_CORS_ORIGINS"),
            debug_requests=debug_requests,
            retention_s=retention_of(environment) if debug_requests else 0,
        )


class ApiWorkers:
    """Directory of the workers that a deployment pushes to. No worker polls it, so none announces its functions.

    Args:
        groups: the push address of each worker group.
    """

    def __init__(self, groups: Mapping[str, str]) -> None:
        self._groups = groups

    def announce(self, worker: AnnouncedWorker, prefix: str) -> bool:  # noqa: ARG002
        return False

    def workers(self, prefix: str) -> list[WorkerView]:
        """Return the groups with their addresses. Only a caller with access to all ids sees them."""
        if prefix:
            return []
        return [WorkerView(group, address=address) for group, address in sorted(self._groups.items())]


class Api:
    """API of one process.

    Args:
        environment: the environment variables of the process.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    @functools.cached_property
    def settings(self) -> ApiSettings:
        return ApiSettings.of(self._environment)

    @functools.cached_property
    def clock(self) -> RequestClock:
        return RequestClock(ambient())

    @functools.cached_property
    def store(self) -> DynamoStore:
        settings = self.settings
        payloads = Payloads.of(self._environment, settings.table)
        width = number_of(self._environment, "RESONATE_REQUESTS", S3_REQUESTS)
        delivery = delivery_of(self._environment, self.clock)
        return DynamoStore(
            settings.table,
            clock=self.clock,
            groups=settings.groups,
            payloads=payloads,
            width=width,
            delivery=delivery,
        )

    @functools.cached_property
    def guard(self) -> Authentication | None:
        settings = self.settings
        if settings.public_key is None:
            return None
        from resonate_infra.authentication import Authentication  # Slow to import, so only if there is a key.

        return Authentication(settings.public_key, issuer=settings.issuer, audience=settings.audience)

    def admits(self, context: Mapping[str, Any]) -> bool:
        """Return whether a request may be handled.

        With a public key it may, and `answer` checks its token. Without one, API Gateway must name an AWS caller. Under
        `sam local` every request may be handled.

        Args:
            context: the `requestContext` of API Gateway's event.
        """
        if self.guard is not None or self._environment.get("AWS_SAM_LOCAL") == "true":
            return True
        match context:
            case {"identity": {"userArn": str(caller)}}:
                return bool(caller)
            case _:
                return False

    def answer(self, body: bytes) -> tuple[int, bytes]:
        """Answer one request of the protocol. Return the HTTP status and the response envelope (`Service.answer`)."""
        store = self.store.open()
        try:
            debug: TableDebug | None = None
            if self.settings.debug_requests:
                from resonate_infra.deployed.debugging import TableDebug  # Imported only if it is used.

                debug = TableDebug(store, self.clock, self.settings.retention_s)
            service = Service(
                debug or store,
                guard=self.guard,
                debug=debug,
                directory=ApiWorkers(self.settings.groups),
                clock=self.clock,
                refused=_REFUSED,
            )
            return service.answer(body)
        finally:
            store.close()

    def ready(self) -> bool:
        """Return whether the store answers."""
        try:
            return self.store.apply(_PROBE).status < 500
        except StoreError:
            logger.exception("the store does not answer")
            return False

    def cors(self, origin: str | None) -> dict[str, str]:
        """Return the headers that let a page of `origin` read a response. Return none if it may not read it."""
        allowed = self.settings.origins
        if origin is None or not ("*" in allowed or origin in allowed):
            return {}
        return {
            "Access-Control-Allow-Origin": "*" if "*" in allowed else origin,
            "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
            "Access-Control-Allow-Headers": "Origin, Content-Length, Content-Type, Authorization",
            "Access-Control-Max-Age": "3600",
            "Vary": "Origin",
        }
