"""Import path of SDK 0.6.7."""

from resonate.compat.loggers import ContextLogger

__all__ = ["ContextLogger"]
