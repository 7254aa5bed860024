"""Import path of SDK 0.6.7."""

from resonate.workflow.registry import Registry

__all__ = ["Registry"]
