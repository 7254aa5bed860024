"""Parallel work items, each durable on its own.

A finished item is recorded at once and is not processed again. An item that fails is retried as the policy says, while
the rest continue. During a pause longer than a second, no process has to run.
"""

from collections.abc import Generator
from typing import Any

from resonate import Context, Resonate
from resonate.retry_policies import Constant

ITEMS = ["apples", "bananas", "cherries"]

resonate = Resonate(group="worker")


@resonate.register
def process_all(
    ctx: Context, items: list[str], flaky: str, secs_between: float = 0.1
) -> Generator[Any, Any, list[str]]:
    policy = Constant(delay=secs_between, max_retries=3)
    promises = []
    for item in items:
        promises.append((yield ctx.begin_run(process, item, item == flaky).options(retry_policy=policy)))
    results = []
    for promise in promises:
        results.append((yield promise))
    return results


def process(ctx: Context, item: str, flaky: bool) -> str:
    if flaky and ctx.info.attempt == 1:
        raise ConnectionError(f"{item} cannot be reached")
    return f"{item}: done at attempt {ctx.info.attempt}"


handler = resonate.handler()

if __name__ == "__main__":
    try:
        print(*process_all.run("work-items-1", ITEMS, flaky="bananas"), sep="\n")
    finally:
        resonate.stop()
