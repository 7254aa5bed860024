"""The workflow that runs in a thread, so that calls that do not belong into a workflow can say so."""

from __future__ import annotations

import threading


class Current(threading.local):
    """What a thread runs.

    Attributes:
        workflow: the name of the workflow whose code runs now; empty outside of workflows.
    """

    workflow = ""


CURRENT = Current()
