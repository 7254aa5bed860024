"""Loggers with the ids of an execution, for programs of SDK 0.6.7.

Unlike `ctx.logger`, they also write during replay.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from resonate.compat.protocols import Clock


class ContextLogger(logging.LoggerAdapter[logging.Logger]):
    """Child of the logger `resonate`, named `resonate:{cid}:{id}`. Its records have the attributes `cid` and `id`.

    Args:
        cid: the id of the root.
        id: the id of the execution.
        level: the lowest level that is written, a number or a name.
    """

    def __init__(self, cid: str, id: str, level: int | str = logging.NOTSET) -> None:
        self.cid = cid
        self.id = id
        super().__init__(logging.getLogger(f"resonate:{cid}:{id}"), {"cid": cid, "root_id": cid, "id": id})
        self.logger.setLevel(level)
        self.logger.parent = logging.getLogger("resonate")

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, {**kwargs, "extra": {**(self.extra or {}), **(kwargs.get("extra") or {})}}


class DSTLogger(ContextLogger):
    """Logger of a simulation. Its records also have the attribute `time`, in seconds.

    Args:
        cid: the id of the root.
        id: the id of the execution.
        clock: the simulation's time.
        level: the lowest level that is written.
    """

    def __init__(self, cid: str, id: str, clock: Clock, level: int = logging.NOTSET) -> None:
        super().__init__(cid, id, level)
        self.clock = clock

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return super().process(msg, {**kwargs, "extra": {"time": self.clock.time(), **(kwargs.get("extra") or {})}})
