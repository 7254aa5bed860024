"""Decision whether and when a failed function is called again: `decide`. Pure: it changes nothing.

A pause that is long enough to suspend the task becomes a timer promise. This promise has the error and the number of
the attempt. So the worker may exit, and the count of attempts survives (docs/rules.md R12). The worker waits out a
shorter pause and does not record it, with three exceptions:

- A root workflow records every failed attempt, because the worker that continues it may not have the retry policy of
  its caller.
- A step that runs at most once records every failed attempt, so that its mark does not count as an interruption.
- After every `SERIES` attempts the pause is long enough for a timer, so that a function that always fails does not
  occupy a worker.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from resonate.engine.blocking import WORTH_SUSPENDING_MS
from resonate.engine.history import attempt_of
from resonate.engine.model import Work
from resonate.errors import is_final
from resonate.payloads import codec
from resonate.retry_policies import Exponential, Never, RetryPolicy, pause_after
from resonate.workflow.options import Options, PolicyFor
from resonate_store.model.records import PromiseView
from resonate_store.model.requests import PromiseCreate, PromiseRecord
from resonate_store.model.tags import DELAY, ORIGIN, SCOPE, TARGET, TIMER, WORKFLOW

SERIES = 100
"""Number of attempts in a row with short pauses between them."""
LONG_PAUSE_MS = 2_000
"""Minimum pause after a series, unless the timeout is nearer."""

_OF_STEPS: RetryPolicy = Exponential()
_OF_WORKFLOWS: RetryPolicy = Never()


class Again(Struct, frozen=True):
    """Decision to call the function at once: the records show that this attempt failed and a later one began."""


class AfterTimer(Struct, frozen=True):
    """Decision to call the function after the pause that is recorded for this attempt."""

    timer: PromiseView


class PauseHere(Struct, frozen=True):
    """Decision to wait in this process until an instant (ms), and then call the function.

    If `recorded`, the failed attempt is recorded first.
    """

    pause_ms: int
    until: int
    policy: RetryPolicy
    recorded: bool = False


class DurableTimer(Struct, frozen=True):
    """Decision to create a timer promise that resolves at the end of the pause (`until`, ms), and to wait for it."""

    pause_ms: int
    until: int
    policy: RetryPolicy


class Final(Struct, frozen=True):
    """Decision not to call the function again.

    If the retry policy itself has raised an error, `broken` is this error and `blamed` names the policy.
    """

    broken: Exception | None = None
    blamed: str = ""


Decision = Again | AfterTimer | PauseHere | DurableTimer | Final


def decide(
    work: Work,
    error: BaseException,
    *,
    timer: PromiseView | None,
    now: int,
    default: RetryPolicy | PolicyFor | None,
    draw: Callable[[], float],
    is_root: bool,
) -> Decision:
    """Decide how a function continues whose attempt has just failed.

    Args:
        work: the function, at the attempt that failed.
        error: what it raised.
        timer: the latest recorded retry timer of the function, if there is one.
        now: the present instant (ms).
        default: the retry policy of the program, for calls that name none.
        draw: returns a random number from 0 to below 1, for policies with jitter.
        is_root: whether the function is the root of the execution.
    """
    recorded = attempt_of(timer)
    if timer is not None and recorded >= work.attempt:
        return Again() if recorded > work.attempt else AfterTimer(timer)
    policy = work.policy
    try:
        policy = policy_in_force(work, default)
        pause_ms = _pause_after(work, error, now, draw, policy)
    except Exception as broken:
        asked = policy or default
        return Final(broken, type(asked).__name__ if isinstance(asked, RetryPolicy) else "Resonate(retry_policy=...)")
    if pause_ms is None:
        return Final()
    if work.attempt % SERIES == 0 and now + LONG_PAUSE_MS <= work.node.timeout_at:
        pause_ms = max(pause_ms, LONG_PAUSE_MS)
    until = now + pause_ms
    short = pause_ms <= WORTH_SUSPENDING_MS
    if short or not work.node.durable:
        return PauseHere(pause_ms, until, policy, recorded=short and _is_recorded(work, is_root))
    return DurableTimer(pause_ms, until, policy)


def policy_in_force(work: Work, default: RetryPolicy | PolicyFor | None) -> RetryPolicy:
    """Return the retry policy of a function: that of the call, else the program's default, else the SDK's.

    A default that is a policy is for steps only. A default that chooses the policy by function is for all.

    Raises:
        Exception: the function that chooses the program's default raised it.
    """
    if work.policy is not None:
        return work.policy
    if default is None or (work.is_workflow and isinstance(default, RetryPolicy)):
        return _OF_WORKFLOWS if work.is_workflow else _OF_STEPS
    return Options(retry_policy=default).policy_for(work.func) or _OF_STEPS


def repeated_attempts(work: Work, timer: PromiseView | None) -> int:
    """Return how many attempts of a function are not repeated, because this timer records the last of them.

    A workflow repeats its earlier attempts, whose steps are all recorded, so that its commands get the same numbers.
    """
    if work.kind == "step" or (work.kind == "async" and timer is not None and WORKFLOW not in timer.tags):
        return attempt_of(timer)
    return 0


def _is_recorded(work: Work, is_root: bool) -> bool:
    """Return whether a failed attempt is recorded although the pause after it is short."""
    return (work.is_workflow and is_root) or (work.limits is not None and work.limits.at_most_once)


def _pause_after(
    work: Work, error: BaseException, now: int, draw: Callable[[], float], policy: RetryPolicy
) -> int | None:
    """Return the milliseconds until the next attempt, or None if this failure is final (docs/protocol.md 5.7)."""
    if type(error) in work.non_retryable or is_final(error):
        return None
    pause_s = pause_after(policy, work.attempt, error, draw)
    if pause_s is None or now + pause_s * 1000 > work.node.timeout_at:
        return None
    return max(0, round(pause_s * 1000))


def timer_after(work: Work, error: BaseException, until: int) -> PromiseCreate:
    """Return the request that creates the retry timer after this attempt.

    The id makes the timer a sibling of the function's promise, so the timer is in the preload of the parent.
    """
    tags = {**work.tags, SCOPE: "global", TIMER: "true"}
    for tag in (TARGET, DELAY):
        tags.pop(tag, None)
    tags[ORIGIN] = work.lineage.origin
    if work.is_workflow and work.kind == "async":
        tags[WORKFLOW] = "true"
    id = f"{work.timer_stem}~{work.attempt}"
    return PromiseCreate(id, until, codec.encode_error(error, work.node.encoder), tags)


def record_of(work: Work, error: BaseException, now: int, until: int) -> PromiseRecord:
    """Return the request that records a failed attempt of a root workflow, if the worker waits out the pause."""
    timer = timer_after(work, error, until)
    return PromiseRecord(timer.id, until, now, "resolved", param=timer.param, tags={**timer.tags, SCOPE: "local"})
