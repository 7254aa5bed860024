"""Checks of the AWS account: region, credentials, and the clock of this machine against that of AWS."""

from __future__ import annotations

import os
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

from resonate_infra.cli.doctor.findings import Remark, Subject, error, ok, warning
from resonate_infra.distributions import OURS
from resonate_infra.json_types import is_object

SKEW_MS = 5_000
"""Milliseconds from which on a difference of the clocks is a warning: deadlines of this program are wrong by it."""
REFUSED_SKEW_MS = 300_000
"""Milliseconds from which on AWS refuses signatures."""


def region(_subject: Subject) -> Iterator[Remark]:
    try:
        import boto3  # pyright: ignore[reportMissingTypeStubs]
    except ModuleNotFoundError:
        yield error("boto3 is not installed, which reads the credentials", f"pip install '{OURS}[aws,cli]'")
        return
    name: Any = boto3.session.Session().region_name
    if not name:
        yield error("no region is set", "set AWS_REGION, or choose a profile with AWS_PROFILE")
        return
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    yield ok(f"{name}, at {endpoint}" if endpoint else str(name))


def credentials(subject: Subject) -> Iterator[Remark]:
    """Ask AWS for the owner of the credentials. Nothing of the credentials themselves is shown."""
    before = subject.clock.now()
    try:
        answer = subject.client("sts").get_caller_identity()
    except Exception as raised:
        _remember(subject, getattr(raised, "response", None), before)
        if not type(raised).__module__.startswith("botocore."):
            raise
        yield error(str(raised), "sign in (aws sso login), or set AWS_PROFILE or the variables of the credentials")
        return
    _remember(subject, answer, before)
    yield ok(str(answer["Arn"]))


def _remember(subject: Subject, answer: Any, before: int) -> None:
    metadata = answer.get("ResponseMetadata") if is_object(answer) else None
    headers = metadata.get("HTTPHeaders") if is_object(metadata) else None
    if is_object(headers) and "date" in headers:
        subject.answered = (str(headers["date"]), before, subject.clock.now())


def clock(subject: Subject) -> Iterator[Remark]:
    """Compare the clock of this machine with the date of an answer of AWS, which has whole seconds."""
    if subject.answered is None:
        yield warning("not checked: AWS has sent no date", "compare it with another clock")
        return
    date, before, after = subject.answered
    theirs = round(parsedate_to_datetime(date).timestamp() * 1000)
    yield of_skew(max(0, theirs - after) or min(0, theirs + 999 - before), "AWS")


def of_skew(ahead_ms: int, whose: str) -> Remark:
    """Return the remark about a difference of two clocks.

    Args:
        ahead_ms: how far the other clock is ahead of this machine's (ms). Negative if it is behind.
        whose: the owner of the other clock.
    """
    seconds = f"{abs(ahead_ms) / 1000:.1f} s"
    text = f"this machine's clock is {seconds} {'behind' if ahead_ms > 0 else 'ahead of'} that of {whose}"
    way = "synchronise it, for example with NTP"
    if abs(ahead_ms) > REFUSED_SKEW_MS:
        return error(f"{text}: AWS refuses signatures from 5 minutes on", way)
    if abs(ahead_ms) > SKEW_MS:
        return warning(f"{text}: deadlines and leases are wrong by it", way)
    return ok(f"within {SKEW_MS // 1000} s of that of {whose}")
