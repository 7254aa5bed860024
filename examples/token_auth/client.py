"""Client that runs a workflow itself, and then by its worker group, under ids that begin with the argument.

It authenticates with the token in `RESONATE_TOKEN`.
"""

import sys

from resonate import Context, Resonate
from resonate.errors import ResonateStoreError

prefix = sys.argv[1]
resonate = Resonate.remote(group="hello")


@resonate.register
def hello(_: Context) -> str:
    return "hello world!"


try:
    print("run:", resonate.run(f"{prefix}run", hello))
    print("rpc:", resonate.options(target="poll://any@hello").rpc(f"{prefix}rpc", "hello"))
except ResonateStoreError as error:
    sys.exit(f"{error.status} {error.mesg}")
