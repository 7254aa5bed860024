"""Module under whose name `MixedAwaits` is stored."""

from resonate.workflow.awaits import MixedAwaits

__all__ = ["MixedAwaits"]
