"""Resonate: durable execution for Python on AWS, without a server of your own.

A workflow is a generator that yields its durable steps, or an async function that awaits them. The same code runs in
memory, on the offline stack and on Lambda::

    resonate = Resonate.local()

    @resonate.register
    def greet(ctx: Context, name: str) -> Generator[Yieldable, Any, str]:
        yield ctx.sleep(60)
        return f"hello {name}"

    greet.run("greet-ada", "ada")  # the id names the execution; the same id again returns the same result
"""

from typing import TYPE_CHECKING

from resonate.client.client import Resonate
from resonate.client.handle import Handle
from resonate.workflow.commands import Promise, Yieldable
from resonate.workflow.context import Context

__all__ = [
    "Canceled",
    "Context",
    "Handle",
    "MapFailure",
    "MapResult",
    "Promise",
    "Resonate",
    "Saga",
    "Settled",
    "Winner",
    "Yieldable",
]

if TYPE_CHECKING:
    from resonate.errors.canceled import Canceled
    from resonate.workflow.composites.combinators import Settled, Winner
    from resonate.workflow.composites.mapping import MapFailure, MapResult
    from resonate.workflow.composites.saga import Saga

    __version__: str
else:  # with `__getattr__` in sight, type checkers would accept every name
    _HOMES = {
        "Canceled": "resonate.errors.canceled",
        "MapFailure": "resonate.workflow.composites.mapping",
        "MapResult": "resonate.workflow.composites.mapping",
        "Saga": "resonate.workflow.composites.saga",
        "Settled": "resonate.workflow.composites.combinators",
        "Winner": "resonate.workflow.composites.combinators",
    }

    def __getattr__(name: str) -> object:
        """Return what is looked up on first use, so that a cold start does not pay for it."""
        if name in _HOMES:
            from importlib import import_module

            return getattr(import_module(_HOMES[name]), name)
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("resonate-serverless")
        except PackageNotFoundError:  # the files were copied without the distribution's metadata
            return "unknown"
