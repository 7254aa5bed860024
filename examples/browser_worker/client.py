"""Client that calls a factorial in an open page. The argument is the number."""

import sys

from resonate import Resonate

n = int(sys.argv[1])
resonate = Resonate.remote(group="client")

print(resonate.options(target="poll://any@default").rpc(f"factorial-{n}", "factorial", n))
