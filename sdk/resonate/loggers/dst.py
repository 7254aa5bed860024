"""Import path of SDK 0.6.7."""

from resonate.compat.loggers import DSTLogger

__all__ = ["DSTLogger"]
