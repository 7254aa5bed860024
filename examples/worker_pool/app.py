"""Worker pool: 300 pages, of which the workers of a group convert 20 at a time. Some of them may fail."""

import sys
from collections.abc import Generator
from typing import Any

from resonate import Context, Resonate
from resonate.retry_policies import Exponential


class BlankPage(Exception):
    """The page cannot be converted; a retry does not help."""


resonate = Resonate(group="worker", retry_policy=Exponential(max_retries=5, non_retryable=(BlankPage,)))


@resonate.register
def convert_book(ctx: Context, pages: int) -> Generator[Any, Any, dict[str, Any]]:
    """Convert all pages. More than one failure in fifty is too much: then the rest is not begun."""
    result = yield ctx.map(
        convert, range(1, pages + 1), max_concurrency=20, tolerated_failures=0.02, remote=True
    ).options(target="worker")
    return {
        "converted": result.begun - len(result.failures),
        "not begun": pages - result.begun,
        "failed": [str(failure.error) for failure in result.failures],
    }


@resonate.register
def convert(_: Context, page: int) -> str:
    """Convert one page, on any worker of the group."""
    if page % 100 == 0:
        raise BlankPage(f"page {page} is blank")
    return f"page-{page}.png"


handler = resonate.handler()

if __name__ == "__main__":
    pages = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    try:
        for what, count in convert_book.run(f"book-of-{pages}", pages).items():
            print(f"{what}: {count}")
    finally:
        resonate.stop()
