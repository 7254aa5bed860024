"""Variables of the workflow itself may change."""

from collections import deque

from resonate import Context, Resonate

resonate = Resonate(group="worker")
log: list[str] = []


@resonate.register
def order(ctx: Context, items: list[str]):
    done: dict[str, str] = {}
    log = deque[str]()
    total = 0
    for item in items:
        done[item] = yield ctx.run(pack, item)
        log.append(item)
        total += len(done)
    items.sort()
    return done, total, list(log), items


def pack(ctx: Context, item: str) -> str:
    return item


def elsewhere() -> None:
    log.append("x")
