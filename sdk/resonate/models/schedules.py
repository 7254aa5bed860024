"""Import path of SDK 0.6.7."""

from resonate.stores.local_schedules import LocalSchedule as Schedule

__all__ = ["Schedule"]
