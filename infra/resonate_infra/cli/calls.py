"""Calls of functions as the SDK records them: what `invoke` creates, and the occurrences of a schedule.

A worker sees no difference to `Resonate.begin_rpc` and `Resonate.schedule`; the tests hold them side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

from resonate.payloads import codec
from resonate_infra.cli.arguments import arguments_of
from resonate_store.model.addresses import expand
from resonate_store.model.records import Value
from resonate_store.model.tags import BRANCH, FUNC, ORIGIN, PARENT, PREFIX, SCOPE, TARGET


def call(
    func: str, args: Sequence[str], kwargs: Sequence[str], version: int, target: str, tags: dict[str, str]
) -> tuple[Value, dict[str, str]]:
    """The param and the tags of a promise that is a call.

    Args:
        func, version: which function.
        args, kwargs: `--arg` and `--kwarg` as they were written.
        target: who works on it; a bare name is a group.
        tags: the user's.

    Raises:
        Failure: an argument is malformed.
        PayloadError: an argument cannot travel.
    """
    positional, named = arguments_of(args, kwargs)

    tags = {**tags, SCOPE: "global", TARGET: expand(target), FUNC: func}
    return codec.encode_call(func, positional, named, version), tags


def lineage(id: str) -> dict[str, str]:
    """The tags of a promise that is the root of an execution."""

    return dict.fromkeys((ORIGIN, BRANCH, PARENT, PREFIX), id)
