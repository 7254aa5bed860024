"""Alarms and dashboard of `template.yaml`, and what the docs say about them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from resonate_infra.testing.template.template import Resolver
from tests.support.shipped_template import ROOT, of_type, properties, shipped

TOPIC = "arn:aws:sns:eu-central-1:111122223333:pager"
EMAIL = "ops@example.com"
ALARMS = of_type("CloudWatch::Alarm")


def test_alarms_watch_each_queue_of_failures_and_each_function() -> None:
    dimensions = [dimension for name in ALARMS for dimension in properties()[name].get("Dimensions", [])]
    assert {dimension["Value"] for dimension in dimensions} == {
        "shop",
        "WorkerFunction",
        "TimerDeadLetterQueue.QueueName",
        "PushDeadLetterQueue.QueueName",
        "EffectFailureQueue.QueueName",
        "PushQueue.QueueName",
        "ScheduleGroup",
        "DispatchFunction",
        "TickFunction",
        "ApiFunction",
    }


def test_missing_sweep_alarm_counts_metrics_of_sweeps() -> None:
    for metrics, expected in (
        ("on", ("Resonate", "SweepLag", "SampleCount", [{"Name": "service", "Value": "shop"}])),
        ("off", ("AWS/Lambda", "Invocations", "Sum", [{"Name": "FunctionName", "Value": "TickFunction"}])),
    ):
        alarm = properties(Metrics=metrics)["SweepMissingAlarm"]
        assert (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"], alarm["Dimensions"]) == expected
        assert (alarm["TreatMissingData"], alarm["Period"]) == ("breaching", 300)


def test_alarm_watches_its_metric() -> None:
    def metric(name: str) -> tuple[Any, ...]:
        alarm = properties()[name]
        dimensions = [(dimension["Name"], dimension["Value"]) for dimension in alarm["Dimensions"]]
        return (alarm["Namespace"], alarm["MetricName"], *dimensions)

    assert metric("SweepEntryAlarm") == ("Resonate", "SweepFailures", ("service", "shop"))
    age = ("AWS/SQS", "ApproximateAgeOfOldestMessage", ("QueueName", "PushQueue.QueueName"))
    assert metric("PushDelayAlarm") == age
    dropped = ("AWS/Scheduler", "InvocationDroppedCount", ("ScheduleGroup", "ScheduleGroup"))
    assert metric("SchedulerDropAlarm") == dropped


def test_halted_task_alarm_keeps_its_state_without_data() -> None:
    alarm = properties()["HaltedTaskAlarm"]
    assert (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"]) == ("Resonate", "HaltedNow", "Maximum")
    assert alarm["TreatMissingData"] == "ignore"


def test_table_throttle_alarm_watches_table_and_indexes() -> None:
    watched = [metric["MetricStat"]["Metric"] for metric in properties()["TableThrottleAlarm"]["Metrics"][1:]]
    assert {
        (metric["MetricName"], *(dimension["Value"] for dimension in metric["Dimensions"])) for metric in watched
    } == {
        ("ReadThrottleEvents", "PromiseTable"),
        ("WriteThrottleEvents", "PromiseTable"),
        ("ReadThrottleEvents", "PromiseTable", "wake"),
        ("WriteThrottleEvents", "PromiseTable", "wake"),
        ("ReadThrottleEvents", "PromiseTable", "executions"),
        ("WriteThrottleEvents", "PromiseTable", "executions"),
    }


def test_sum_of_metrics_fills_the_gaps_of_each() -> None:
    for name in ("ThrottleAlarm", "TableThrottleAlarm"):
        total, *parts = properties()[name]["Metrics"]
        assert total["Expression"] == " + ".join(f"FILL({part['Id']}, 0)" for part in parts)


def test_operators_page_lists_each_alarm() -> None:
    page = (ROOT / "docs/operate.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `") and "Alarm`" in line]
    documented = [name for row in rows for name in re.findall(r"`(\w+Alarm)`", row.split("|")[1])]
    assert sorted(documented) == sorted(ALARMS)


def test_restore_page_says_when_dead_letters_fill() -> None:
    restore = (ROOT / "docs/operate.md").read_text(encoding="utf-8").partition("\n## Restore\n")[2]
    stop = " ".join(restore.partition("\n2. ")[0].split())
    for kind in ("Timer", "Push"):
        queue = properties()[f"{kind}Queue"]
        minutes = queue["VisibilityTimeout"] * queue["RedrivePolicy"]["maxReceiveCount"] // 60
        assert f"After {minutes} minutes timers and pushes go to the dead letters" in stop
        assert f"`{kind}FailureAlarm`" in stop


def test_costs_page_counts_the_alarms() -> None:
    metrics = sum(max(1, len(alarm.properties.get("Metrics", [])) - 1) for alarm in ALARMS.values())
    page = (ROOT / "docs/costs.md").read_text(encoding="utf-8")
    assert f"{len(ALARMS)} alarms over {metrics} metrics" in page


def test_alarms_notify_a_given_topic_or_email_address(subtests: pytest.Subtests) -> None:
    parameters: dict[str, str]
    for parameters, expected in (
        ({}, []),
        ({"AlarmTopicArn": TOPIC}, [TOPIC]),
        ({"AlarmEmail": EMAIL}, ["AlarmTopic"]),
        ({"AlarmEmail": EMAIL, "AlarmTopicArn": TOPIC}, [TOPIC]),
    ):
        with subtests.test(parameters=parameters):
            template = shipped(**parameters)
            resolver = Resolver(template)
            for name in ALARMS:
                assert properties(**parameters)[name]["AlarmActions"] == expected
            topics = [each for each in template.resources if each.type.startswith("AWS::SNS::")]
            assert {resolver.condition(each.condition or "") for each in topics} == {expected == ["AlarmTopic"]}


def test_dashboard_shows_existing_functions_only() -> None:
    body = json.loads(properties()["Dashboard"]["DashboardBody"])
    shown = [row for widget in body["widgets"] for row in widget["properties"]["metrics"]]
    functions = {properties()[name]["FunctionName"] for name in of_type("Lambda::Function")}
    assert {row[3] for row in shown if row[0] == "AWS/Lambda"} <= functions
    assert {row[3] for row in shown if row[0] == "Resonate"} == {"shop"}
    assert len({(widget["x"], widget["y"]) for widget in body["widgets"]}) == len(body["widgets"])
