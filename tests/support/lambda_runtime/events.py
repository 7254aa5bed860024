"""The events of `events/`, which are about one workflow."""

from __future__ import annotations

import json
from typing import Any

from tests.support.lambda_runtime.stack import ROOT

WORKFLOW = "sleep-workflow-1"


def event(name: str) -> Any:
    return json.loads((ROOT / "events" / name).read_text())
