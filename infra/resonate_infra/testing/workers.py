"""Advice about the workers of an offline stack, for executions that fail because no worker has their function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from resonate_infra.testing.template.deployment import TemplateFunction
from resonate_store.model.addresses import function_of
from resonate_store.settings import groups_of

SERVANTS = ("ApiFunction", "DispatchFunction", "TickFunction")
"""The functions that are the server. All other functions are workers."""
_FAULTS = ("not found in registry", "its task is pending")
"""What the text of a wait contains if the function of a task is not registered, or its target has no worker."""


def advice_about(
    texts: Iterable[str], functions: Mapping[str, TemplateFunction], file_of: Callable[[TemplateFunction], Path]
) -> str:
    """Return which file each worker runs and how a function gets there, or an empty text if that is not the fault.

    Args:
        texts: what the execution waits for.
        functions: the functions of the deployment, by logical id.
        file_of: returns the file that a function is loaded from.
    """
    if not any(fault in text for text in texts for fault in _FAULTS):
        return ""
    groups = groups_of(functions["DispatchFunction"].environment) or {}
    lines: list[str] = []
    for worker in functions.values():
        if worker.logical_id in SERVANTS:
            continue
        own = [name for name, address in groups.items() if function_of(address) == worker.name]
        served = f"target {' or '.join(map(repr, own))}" if own else f"target 'lambda://{worker.name}'"
        lines.append(f"\n  {worker.logical_id}, {served}, runs {file_of(worker)}")
    return (
        f"\nThe workers of this stack:{''.join(lines) or ' none'}\n"
        "Register the function in that file, or in a module that it imports, by @resonate.register. The ini option"
        " resonate_worker, or OfflineStack(code={'WorkerFunction': Path('app.py')}), selects another file."
        " stack.mock(name, function, target=...) serves another target."
    )
