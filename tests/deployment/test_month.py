"""A month passes on a deployment, and nothing is left of what happened in it. The full one is `benchmarks/month.py`."""

from pathlib import Path

from benchmarks import month
from resonate_infra.testing.stack import OfflineStack

EXECUTIONS = 40


def test_a_month_leaves_no_record_no_object_no_schedule_and_no_message() -> None:
    with OfflineStack(code={"WorkerFunction": Path(month.__file__)}, parameters={"RetentionDays": 1}) as stack:
        outcome = month.simulate(stack, EXECUTIONS)

        assert outcome.completed == EXECUTIONS
        assert outcome.most_items < 25, "a day's executions, and not a month's, which are two hundred"
        assert outcome.most_schedules == 2, "the recurring one, and that of who sleeps or is cancelled"
        assert outcome.left == {"items": [], "objects": [], "schedules": [], "messages": []}
        assert stack.operations("s3")["PutObject"] == EXECUTIONS // 10
