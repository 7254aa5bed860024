"""A month of executions on a deployment. `benchmarks/month.py` simulates more of them."""

from pathlib import Path

import pytest

from benchmarks import month
from resonate_infra.testing.stack import OfflineStack
from tests.support.hypothesis_settings import examples

DAYS = examples(10, in_ci=30)
EXECUTIONS = examples(10, in_ci=40)


def test_month_leaves_no_record_object_schedule_or_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(month, "DAYS", DAYS)
    with OfflineStack(code={"WorkerFunction": Path(month.__file__)}, parameters={"RetentionDays": 1}) as stack:
        outcome = month.simulate(stack, EXECUTIONS)

        assert outcome.completed == EXECUTIONS
        assert outcome.most_items < 25, "records of a day, not of a month"
        assert outcome.most_schedules == 2, "the recurring one, and one of a sleep"
        assert outcome.left == {"items": [], "objects": [], "schedules": [], "messages": []}
        assert stack.operations("s3")["PutObject"] == EXECUTIONS // 10
