"""Limits of the attempts of a step: `attempt_timeout` and `at_most_once`. Pure.

A step that runs at most once has a mark for each attempt, which the worker records before the attempt begins. The mark
is a sibling of the step's promise, `{step}~m{attempt}`, so it is in the preload of the workflow. A tag has the version
of the task. A later version that finds the mark, and no outcome, does not run the step again (docs/decisions/0079).
"""

from __future__ import annotations

import math

from resonate.engine.model import AttemptLimits, Kind, Work
from resonate.errors import ProgramError, StepInterrupted
from resonate.retry_policies import Never
from resonate.workflow.options import Options
from resonate_store.model.records import EMPTY, PromiseView
from resonate_store.model.requests import PromiseRecord
from resonate_store.model.tags import BEGUN, FUNC, KIND

ATTEMPT = "attempt"
"""The kind of a mark, in its tag `resonate:kind`."""
ONCE = Never()
"""The retry policy of a step that runs at most once, if its call has none."""


def limits_of(opts: Options, kind: Kind, name: str) -> AttemptLimits | None:
    """Return the limits of a call's attempts, or None if there are none.

    Args:
        opts: the options of the call.
        kind: whether the function is a step.
        name: its name, for errors.

    Raises:
        ProgramError: the function cannot have these options.
    """
    if opts.attempt_timeout is None and not opts.at_most_once:
        return None
    limits = AttemptLimits(_limit_ms(opts), bool(opts.at_most_once))
    if kind == "workflow":
        raise not_for_workflows(name, limits)
    if limits.at_most_once and opts.durable is False:
        raise ProgramError(f"{name} cannot have both at_most_once=True and durable=False: its outcome must be recorded")
    if limits.at_most_once and opts.id:
        raise ProgramError(
            f"{name} cannot have both at_most_once=True and an id: other workflows may run a promise with an id of its"
            " own, and marks belong to one workflow; leave the id out"
        )
    return limits


def limits_of_root(opts: Options, kind: Kind) -> AttemptLimits | None:
    """Return the limits of the attempts of a task's function, or None if there are none."""
    return AttemptLimits(_limit_ms(opts)) if opts.attempt_timeout is not None and kind != "workflow" else None


def not_for_workflows(name: str, limits: AttemptLimits) -> ProgramError:
    """Return the error of a function that issues commands and cannot, because its attempts have limits."""
    if limits.at_most_once:
        return ProgramError(f"{name} issues commands, so it cannot have at_most_once: give that to its steps")
    return ProgramError(
        f"{name} issues commands, so it cannot have attempt_timeout: give that to its steps, or limit it by timeout="
    )


def _limit_ms(opts: Options) -> int:
    return 0 if opts.attempt_timeout is None else math.ceil(opts.attempt_timeout * 1000)


def mark_of(work: Work, version: int, now: int) -> PromiseRecord:
    """Return the request that marks the next attempt of a step as begun by this version of the task."""
    tags = {**work.lineage.tags, FUNC: work.name, KIND: ATTEMPT, BEGUN: str(version)}
    return PromiseRecord(f"{work.timer_stem}~m{work.attempt}", work.node.timeout_at, now, "resolved", EMPTY, tags=tags)


def begun_by(mark: PromiseView) -> int:
    """Return the version of the task that has recorded this mark; 0 if the record is not a mark."""
    version = mark.tags.get(BEGUN, "")
    return int(version) if version.isdecimal() else 0


def interruption(work: Work, mark: PromiseView | None, version: int) -> StepInterrupted | None:
    """Return the error of a step whose attempt was begun by an earlier version than this one; else None.

    A later version cannot have been interrupted: then this process does not hold the task any more.
    """
    if mark is None or begun_by(mark) >= version:
        return None
    return StepInterrupted(work.node.id, work.attempt, begun_by(mark))
