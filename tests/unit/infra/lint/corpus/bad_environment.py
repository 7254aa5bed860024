"""The environment of a process."""

import os
import sys
from os import environ, getenv

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def deploy(ctx: Context):
    stage = os.environ["STAGE"]  # RS007
    region = getenv("REGION")  # RS007
    user = environ.get("USER", "")  # RS007
    first = sys.argv[1]  # RS007
    process = os.getpid()  # RS007
    yield ctx.rpc("deploy", stage, region, user, first, process)
