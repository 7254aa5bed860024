"""Resonate: durable execution for Python on AWS, with no server to run.

Write a workflow as a generator, `yield` what should happen durably, and run it in memory, on the offline stack or on
Lambda without changing a line.
"""

from typing import TYPE_CHECKING

from resonate.client.client import Resonate
from resonate.client.handle import Handle
from resonate.workflow.commands import Promise, Yieldable
from resonate.workflow.context import Context

__all__ = ["Context", "Handle", "Promise", "Resonate", "Yieldable"]

if TYPE_CHECKING:
    __version__: str
else:  # a type checker would take every name for one that this module has

    def __getattr__(name: str) -> str:
        """Look `__version__` up when it is asked for: a cold start does not pay for it."""
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("resonate-serverless")
        except PackageNotFoundError:  # the files were copied without the distribution's metadata
            return "unknown"
