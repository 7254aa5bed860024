"""Paths that are not read."""

import os
from pathlib import Path

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, name: str):
    path = Path(name).with_suffix(".csv")
    joined = os.path.join("a", path.name, os.sep)
    yield ctx.run(keep, str(path / "b"), joined, os.path.basename(name))


def keep(ctx: Context, *what: object) -> None:
    print(*what)
