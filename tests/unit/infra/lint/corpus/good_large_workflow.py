"""Many ways to write right workflows."""

from __future__ import annotations
import asyncio, contextlib, dataclasses, enum, functools, json, logging, os, random, time, uuid, typing as t
from datetime import datetime, timedelta, UTC
from typing import Annotated
import resonate as rs
from resonate import Context, Resonate, Promise
app = Resonate.remote()
STAGE = os.environ.get("STAGE")
lock = asyncio.Lock()
cache: dict[str, int] = {}

class Color(enum.Enum):
    RED = 1

@dataclasses.dataclass
class Item:
    name: str
    id: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
    at: datetime = dataclasses.field(default_factory=datetime.now)

class Svc:
    def __init__(self): self.count = 0
    @app.register
    def flow(self, ctx: Context, n: int):
        self.count += 1
        x = yield ctx.run(self.step, n)
        y = yield ctx.run(functools.partial(step2, k=3), n)
        return x + y
    def step(self, ctx: Context, n: int): return time.time()

def step2(ctx, n, k): return k

@app.register
async def main(ctx: Context, items: list[Item], tags: frozenset[str]) -> dict[str, t.Any]:
    results: dict[str, Promise[int]] = {}
    for i, item in enumerate(items):
        results[item.name] = await ctx.begin_run(work, item)
    vals = {k: await v for k, v in results.items()}
    if "a" in tags: 
        await ctx.sleep(timedelta(days=1))
    for tag in sorted(tags): await ctx.run(work, tag)
    async def inner(c: Context, it: Item) -> int:
        await c.sleep(1)
        vals2 = {}
        vals2[it.name] = 1
        return 1
    r = await ctx.map(inner, items)
    match r.values:
        case [a, *rest]: pass
    log = logging.getLogger("x"); log.info("%s", datetime.fromtimestamp(await ctx.time.time(), UTC))
    try:
        await ctx.wait(await ctx.promise(), timeout=3)
    except (TimeoutError, ValueError): pass
    else: pass
    with contextlib.suppress(asyncio.CancelledError):
        await ctx.receive("x")
    promises = [await ctx.begin_rpc("main", x.name) for x in items]
    await ctx.all(*promises)
    a, b = await ctx.begin_run(work, 1), await ctx.begin_run(work, 2)
    first = await ctx.race(a, b)
    p = ctx.begin_run(work, 1) if items else ctx.begin_rpc("main")
    q = await p
    del q
    h = json.dumps({"a": 1})
    return {"v": vals, "h": h, "r": r, "d": random.Random(ctx.id).random()}

async def work(ctx: Context, x) -> int:
    async with lock:
        cache[str(x)] = 1
        await asyncio.sleep(0.1)
        return int(time.time())

@app.register
def gen(ctx: Context, n: int):
    def helper(k):
        v = yield ctx.run(work, k)
        return v
    total = 0
    while total < n:
        total += yield from helper(total)
        total += (yield ctx.run(work, total)) or 0
    done = yield ctx.all({k: ctx.run(work, k) for k in range(3)}.values())
    cmds = []
    for k in range(3): cmds.append(ctx.run(work, k))
    for c in cmds: yield c
    res = [(yield c) for c in map(lambda k: ctx.run(work, k), range(3))] if False else None
    cmd = ctx.run(work, 1)
    cmd = cmd.options(timeout=3)
    yield cmd
    yield (ctx.run(work, 1) if n else ctx.run(work, 2)).options(timeout=2) if False else ctx.sleep(1)
    handle = yield ctx.begin_run(work, 1)
    if n: yield ctx.cancel(handle)
    try:
        yield ctx.sleep(1)
    except BaseException as e:
        yield ctx.run(work, 1)
        raise RuntimeError("x") from e
    return total
