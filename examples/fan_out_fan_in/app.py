"""Fan out, fan in: start all calls, then collect the results in the order of the calls.

`begin_run` and `begin_rpc` start a call and return at once. A call by `begin_run` runs in this process, or in the one
that replays the workflow. A call by `begin_rpc` is offered to the workers of its target, and the workflow costs nothing
while they run it.
"""

from collections.abc import Generator
from typing import Any

from resonate import Context, Resonate

WORKER = "worker"
TEXTS = ["the quick brown fox", "jumps over", "the lazy dog"]

resonate = Resonate(group=WORKER)


@resonate.register
def summarize(ctx: Context, texts: list[str]) -> Generator[Any, Any, dict[str, Any]]:
    counting = []
    for text in texts:
        counting.append((yield ctx.begin_rpc(count_words, text).options(target=WORKER)))
    searching = []
    for text in texts:
        searching.append((yield ctx.begin_run(longest_word, text)))

    words = 0
    for promise in counting:
        words += yield promise
    longest = []
    for promise in searching:
        longest.append((yield promise))
    return {"words": words, "longest": longest}


@resonate.register
def count_words(_: Context, text: str) -> int:
    return len(text.split())


def longest_word(_: Context, text: str) -> str:
    return max(text.split(), key=len)


handler = resonate.handler()

if __name__ == "__main__":
    try:
        result = summarize.run("summary-1", TEXTS)
        print(f"{result['words']} words, the longest: {', '.join(result['longest'])}")
    finally:
        resonate.stop()
