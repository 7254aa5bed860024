"""Import path of SDK 0.6.7."""

from resonate.workflow.context import Context, Info

__all__ = ["Context", "Info"]
