"""Requests about the generations of an execution (docs/rules.md G1 to G6)."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct


class TaskContinueAs(Struct, frozen=True, rename="camel"):
    """Request to begin the next history of an acquired task, with the number `generation`, 2 or more.

    It is an addition to the official protocol. A repetition changes nothing. The arguments of the new generation are
    the promise `{id}.{generation}+0`, which is written before (docs/rules.md G1 to G6).
    """

    kind: ClassVar = "task.continue_as"
    id: str
    version: int
    generation: int
