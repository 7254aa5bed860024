"""Import path of SDK 0.6.7."""

from resonate.workflow.options import Options

__all__ = ["Options"]
