"""Import path of SDK 0.6.7."""

from resonate.compat.clocks import StepClock

__all__ = ["StepClock"]
