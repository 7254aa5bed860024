"""Params and tags of calls, for promises of `invoke` and for the occurrences of a schedule.

They are equal to those of `Resonate.begin_rpc` and `Resonate.schedule`. Tests compare them.
"""

from __future__ import annotations

from collections.abc import Sequence

from resonate.payloads import codec
from resonate_infra.inspection.arguments import arguments_of
from resonate_store.model.addresses import expand
from resonate_store.model.records import Value
from resonate_store.model.tags import BRANCH, FUNC, ORIGIN, PARENT, PREFIX, SCOPE, TARGET


def call(
    func: str, args: Sequence[str], kwargs: Sequence[str], version: int, target: str, tags: dict[str, str]
) -> tuple[Value, dict[str, str]]:
    """Return the param and the tags of a promise that is a call.

    Args:
        func, version: name and version of the function.
        args, kwargs: the texts of `--arg` and `--kwarg`.
        target: the worker group or the address that runs it. A bare name is a group.
        tags: tags that the user gives.

    Raises:
        Failure: an argument is malformed.
        PayloadError: an argument cannot be encoded.
    """
    positional, named = arguments_of(args, kwargs)

    tags = {**tags, SCOPE: "global", TARGET: expand(target), FUNC: func}
    return codec.encode_call(func, positional, named, version), tags


def lineage(id: str) -> dict[str, str]:
    """Return the tags of a root that place it in its tree: its origin, branch, parent and prefix are its own id."""

    return dict.fromkeys((ORIGIN, BRANCH, PARENT, PREFIX), id)
