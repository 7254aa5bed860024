"""Conventions of SDK 0.6.7: id, payload, timeout and tags of the promise that a call creates.

Functions of this package do not take them. A program can make one to see how a call would be stored. Timeouts are
durations in seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from resonate.stores.names import legacy_tags
from resonate.workflow.options import DEFAULT_TARGET, DEFAULT_TIMEOUT, UNSET, Options
from resonate_store.model.addresses import expand
from resonate_store.model.tags import ORIGIN, PARENT, SCOPE, TARGET, TIMER

Key = str | Callable[[str], str]


@dataclass
class Base:
    """The promise of `ctx.promise`."""

    id: str
    timeout: float
    idempotency_key: str | None = None
    data: Any = None
    tags: dict[str, str] | None = None

    def options(
        self,
        id: str | None = None,
        idempotency_key: Key | None = None,
        tags: dict[str, str] | None = None,
        target: str | None = None,  # noqa: ARG002
        timeout: float | None = None,
        version: int | None = None,  # noqa: ARG002
    ) -> Self:
        """Set these options in place. `target` and `version` have no effect."""
        self.id = id or self.id
        key = idempotency_key(self.id) if callable(idempotency_key) else idempotency_key
        self.idempotency_key = key or self.idempotency_key
        self.timeout = timeout or self.timeout
        self.tags = tags or self.tags
        return self


@dataclass
class Local:
    """The promise of `ctx.run` and `ctx.begin_run`; `r_id` and `p_id` are the ids of the root and of the caller."""

    id: str
    r_id: str
    p_id: str
    opts: Options = field(default=UNSET, repr=False)

    @property
    def idempotency_key(self) -> str | None:
        return self.opts.key_for(self.id) or self.id

    @property
    def data(self) -> Any:
        return None

    @property
    def timeout(self) -> float:
        return DEFAULT_TIMEOUT if self.opts.timeout is None else self.opts.timeout

    @property
    def tags(self) -> dict[str, str]:
        return self._tagged("local")

    def options(
        self,
        id: str | None = None,
        idempotency_key: Key | None = None,
        tags: dict[str, str] | None = None,
        target: str | None = None,  # noqa: ARG002
        timeout: float | None = None,
        version: int | None = None,  # noqa: ARG002
    ) -> Self:
        """Set these options in place. `target` and `version` have no effect."""
        self.id = id or self.id
        self.opts = self.opts.merge(id=id, idempotency_key=idempotency_key, tags=tags, timeout=timeout)
        return self

    def _tagged(self, scope: str) -> dict[str, str]:
        return legacy_tags({**(self.opts.tags or {}), ORIGIN: self.r_id, PARENT: self.p_id, SCOPE: scope})


@dataclass
class Remote:
    """The promise of `ctx.rpc`, `ctx.begin_rpc` and `ctx.detached`; `r_id` and `p_id` as in `Local`."""

    id: str
    r_id: str
    p_id: str
    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict[str, Any])
    opts: Options = field(default=UNSET, repr=False)

    @property
    def idempotency_key(self) -> str | None:
        return self.opts.key_for(self.id) or self.id

    @property
    def data(self) -> dict[str, Any]:
        return {"func": self.name, "args": self.args, "kwargs": self.kwargs, "version": self.opts.version or 0}

    @property
    def timeout(self) -> float:
        return DEFAULT_TIMEOUT if self.opts.timeout is None else self.opts.timeout

    @property
    def tags(self) -> dict[str, str]:
        lineage = {ORIGIN: self.r_id, PARENT: self.p_id, SCOPE: "global"}
        return legacy_tags({**(self.opts.tags or {}), **lineage, TARGET: expand(self.opts.target or DEFAULT_TARGET)})

    def options(
        self,
        id: str | None = None,
        idempotency_key: Key | None = None,
        tags: dict[str, str] | None = None,
        target: str | None = None,
        timeout: float | None = None,
        version: int | None = None,
    ) -> Self:
        """Set these options in place."""
        self.id = id or self.id
        self.opts = self.opts.merge(
            id=id, idempotency_key=idempotency_key, tags=tags, target=target, timeout=timeout, version=version
        )
        return self


@dataclass
class Sleep:
    """The promise of `ctx.sleep`."""

    id: str
    secs: float

    @property
    def idempotency_key(self) -> str:
        return self.id

    @property
    def data(self) -> Any:
        return None

    @property
    def timeout(self) -> float:
        return self.secs

    @property
    def tags(self) -> dict[str, str]:
        return legacy_tags({TIMER: "true"})

    def options(
        self,
        id: str | None = None,
        idempotency_key: Key | None = None,  # noqa: ARG002
        tags: dict[str, str] | None = None,  # noqa: ARG002
        target: str | None = None,  # noqa: ARG002
        timeout: float | None = None,  # noqa: ARG002
        version: int | None = None,  # noqa: ARG002
    ) -> Self:
        """Set the id in place. The other options have no effect."""
        self.id = id or self.id
        return self
