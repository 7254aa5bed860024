"""Tests of workflows without AWS: a stack in memory, a clock that the test moves, faults on request, and replay tests.

    from resonate.testing import MemoryStack

    def test_reminder():
        stack = MemoryStack()
        assert stack.run(reminder, "ada") == "reminded ada"      # however many days it sleeps

The names in `__all__` are public, the modules of this package are internal. See docs/testing.md.
`resonate_infra.testing` has the same interface for the Lambda functions, which it runs on moto.
"""

from resonate.testing.diagnosis import Stuck
from resonate.testing.faults import FailPoint, Killed
from resonate.testing.history import History, HistoryFormatError, Recorded, export_history
from resonate.testing.memory import MemoryStack
from resonate.testing.replay import Difference, Replayed, ReplayWarning, replay
from resonate.testing.stack import Stack

__all__ = [
    "Difference",
    "FailPoint",
    "History",
    "HistoryFormatError",
    "Killed",
    "MemoryStack",
    "Recorded",
    "ReplayWarning",
    "Replayed",
    "Stack",
    "Stuck",
    "export_history",
    "replay",
]
