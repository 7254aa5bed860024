"""The name under which `MixedAwaits` is stored."""

from resonate.workflow.awaits import MixedAwaits

__all__ = ["MixedAwaits"]
