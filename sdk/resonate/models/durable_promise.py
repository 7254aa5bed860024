"""Import path of SDK 0.6.7."""

from resonate.promises import DurablePromise
from resonate.promises import DurableValue as DurablePromiseValue

__all__ = ["DurablePromise", "DurablePromiseValue"]
