"""Choice of the client of a service: that of this folder if it can be used, else that of boto3.

boto3 and botocore take most of the time of a cold start, and most of the processor time of a call. So they are
imported only if a client needs them.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from typing import Any, Final

from resonate_store.aws.calls import ServiceCalls
from resonate_store.aws.connections import CallLimits
from resonate_store.aws.credentials import region_of
from resonate_store.aws.dynamodb import DynamoClient, verify_checksum
from resonate_store.aws.endpoints import endpoint_of, reason_for_boto3
from resonate_store.aws.exchange import installed_transport
from resonate_store.aws.services import FunctionsClient, SqsClient
from resonate_store.model.clock import SystemClock

logger = logging.getLogger("resonate.aws")

_CLIENTS: Final = {"dynamodb": DynamoClient, "lambda": FunctionsClient, "sqs": SqsClient}
_OPTIONS: Final[dict[str, dict[str, Any]]] = {"dynamodb": {"verify": verify_checksum, "pause_ms": 25}}


class _Hasty(SystemClock):
    """Clock without pauses, for a transport in place of the network. A pause does not help there."""

    def sleep(self, milliseconds: int) -> None:
        pass


def client_of(service: str, limits: CallLimits) -> Any:
    """Create a client of a service from the environment.

    Args:
        service: `dynamodb`, `lambda`, `sqs`, or another service that boto3 knows.
        limits: timeouts and attempts.

    Raises:
        AwsError: no public certificates are installed.
        BotoCoreError: the client is that of boto3, and boto3 cannot create it, for example without a region.
        SettingsError: `RESONATE_CLIENT` has an unknown value.
    """
    if service in _CLIENTS:
        transport = installed_transport()
        reason = _reason_for_boto3(service)
        if reason is None:
            region = region_of(os.environ)
            url = endpoint_of(service, region, os.environ)
            clock = None if transport is None else _Hasty()
            calls = ServiceCalls(
                service, region, url, limits, transport=transport, clock=clock, **_OPTIONS.get(service, {})
            )
            return _CLIENTS[service](calls)
        log_choice(service, reason)
    return boto3_client(service, limits)


def require_libraries() -> None:
    """Import botocore if the client of DynamoDB needs it, so that a program reports a missing package early.

    Raises:
        ModuleNotFoundError: botocore is not installed.
        SettingsError: `RESONATE_CLIENT` has an unknown value.
    """
    if _reason_for_boto3("dynamodb") is not None:
        import botocore  # noqa: F401  # pyright: ignore[reportMissingTypeStubs, reportUnusedImport]


def boto3_client(service: str, limits: CallLimits) -> Any:
    """Create boto3's client of a service, with the same timeouts and attempts."""
    import boto3  # pyright: ignore[reportMissingTypeStubs]
    from botocore.config import Config  # pyright: ignore[reportMissingTypeStubs]

    config = Config(
        connect_timeout=limits.connect_timeout_s,
        read_timeout=limits.read_timeout_s,
        retries={"mode": "standard", "total_max_attempts": limits.attempts},
        max_pool_connections=limits.connections,
        tcp_keepalive=True,
        # To check the requests of the store would take longer than to make them.
        parameter_validation=service != "dynamodb",
    )
    library: Any = boto3
    return library.client(service, config=config)


def _reason_for_boto3(service: str) -> str | None:
    network = installed_transport() is None
    moto: Any = sys.modules.get("moto.core.models")
    if network and moto is not None and moto.botocore_stubber.enabled:
        return "moto takes the place of AWS in this process"
    return reason_for_boto3(service, os.environ, network=network)


@functools.cache
def log_choice(service: str, reason: str) -> None:
    """Log, once in a process, why a service is called through boto3."""
    logger.info("%s is called through boto3: %s", service, reason)
