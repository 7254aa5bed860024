"""Files."""

import glob
import os
import shutil
from pathlib import Path

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def report(ctx: Context, name: str):
    with open(name) as file:  # RS004
        rows = file.readlines()
    text = Path(name).read_text()  # RS004
    there = Path(name).exists() or os.path.exists(name)  # RS004 RS004
    names = os.listdir(".") + glob.glob("*.csv")  # RS004 RS004
    shutil.rmtree("old")  # RS004
    target = Path("out")
    target.mkdir()  # RS004
    yield ctx.run(keep, rows, text, there, names)


def keep(ctx: Context, *what: object) -> None:
    print(*what)
