"""Resonate: durable execution for Python on AWS, with no server to run.

Write a workflow as a generator, `yield` what should happen durably, and run it in memory, on the offline stack or on
Lambda without changing a line.
"""

from resonate.commands import Promise, Yieldable
from resonate.context import Context
from resonate.handle import Handle
from resonate.resonate import Resonate

__all__ = ["Context", "Handle", "Promise", "Resonate", "Yieldable"]
