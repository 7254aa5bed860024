"""Client that submits items to a group of workers, all at the same time, and counts the items of each worker.

The arguments are the name of the batch, the number of items, and the seconds that each item takes.
"""

import sys
from collections import Counter

from resonate import Resonate

batch, count, secs = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
resonate = Resonate.remote(group="client")
group = resonate.options(target="poll://any@worker")

handles = [group.begin_rpc(f"{batch}-{item}", "compute", item, secs) for item in range(1, count + 1)]
results = [handle.result() for handle in handles]

for name, items in sorted(Counter(result["by"] for result in results).items()):
    print(f"{name}: {items} items")
print(f"sum of squares: {sum(result['square'] for result in results)}")
