"""Import path of SDK 0.6.7."""

from resonate.compat.protocols import PromiseStore, ScheduleStore, Store, TaskStore

__all__ = ["PromiseStore", "ScheduleStore", "Store", "TaskStore"]
