"""A Lambda function that notes how it is invoked. The development server imports it by name."""

from __future__ import annotations

import sys
import threading
from queue import Queue
from typing import Any

RECEIVED: Queue[tuple[Any, Any, str]] = Queue()


def handler(event: Any, context: Any) -> dict[str, str]:
    """Note an invocation, and fail for some ids."""
    RECEIVED.put((event, context, threading.current_thread().name))
    if event["data"]["task"]["id"] == "broken":
        raise RuntimeError("it broke")
    if event["data"]["task"]["id"].startswith("exit"):
        sys.exit(3)
    return {"status": "completed"}


no_handler = 7
