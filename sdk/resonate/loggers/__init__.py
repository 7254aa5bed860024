"""Import path of SDK 0.6.7."""

from resonate.compat.loggers import ContextLogger, DSTLogger

__all__ = ["ContextLogger", "DSTLogger"]
