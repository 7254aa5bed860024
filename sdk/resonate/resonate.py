"""Import path of SDK 0.6.7."""

from resonate.client.client import Resonate
from resonate.client.function import Function
from resonate.workflow.context import Context

__all__ = ["Context", "Function", "Resonate"]
