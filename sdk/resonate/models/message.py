"""Import path of SDK 0.6.7."""

from resonate.compat.messages import (
    DurablePromiseMesg,
    DurablePromiseValueMesg,
    InvokeMesg,
    Mesg,
    NotifyMesg,
    ResumeMesg,
    TaskMesg,
)

__all__ = [
    "DurablePromiseMesg",
    "DurablePromiseValueMesg",
    "InvokeMesg",
    "Mesg",
    "NotifyMesg",
    "ResumeMesg",
    "TaskMesg",
]
