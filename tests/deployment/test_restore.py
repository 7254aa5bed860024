"""Commands of docs/operate.md, "Restore", on the offline stack."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from resonate.payloads.codec import encode_call
from resonate_infra.testing.stack import OfflineStack
from resonate_infra.testing.template.template import ParameterError
from resonate_store.model.records import Value
from resonate_store.model.requests import PromiseCreate, PromiseSettle, TaskCreate
from resonate_store.model.schedule_requests import ScheduleCreate, ScheduleGet
from resonate_store.model.tags import FUNC, TARGET
from tests.support.present import present

PAGE = Path(__file__).parents[2] / "docs" / "operate.md"
DAY = 86_400_000
RESTORED = "resonate-restored"
LARGE = Value(data="x" * 100_000)


def commands(step: int, **variables: str) -> Iterator[list[str]]:
    """Yield the words of each command of a step, with the variables of the shell."""
    section = PAGE.read_text(encoding="utf-8").partition("\n## Restore\n")[2].partition("\n## ")[0]
    text = re.split(r"^(?=\d\. )", section, flags=re.MULTILINE)[step].replace("\\\n", "")
    for command in re.findall(r"^ *\$ (.*)$", text, re.MULTILINE):
        yield [re.sub(r"\$([A-Z]+)", lambda found: variables[found[1]], word) for word in shlex.split(command)]


def overrides(step: int, **variables: str) -> Mapping[str, str | int]:
    """Return the parameters of the command `sam deploy` of a step."""
    (deploy,) = [words for words in commands(step, **variables) if words[:2] == ["sam", "deploy"]]
    return dict(word.split("=", 1) for word in deploy[deploy.index("--parameter-overrides") + 1 :])


def carry_out(client: Any, step: int, **variables: str) -> None:
    """Carry out the commands of a step that change something in DynamoDB, as the AWS command line does."""
    for words in commands(step, **variables):
        if words[:2] != ["aws", "dynamodb"] or words[2] == "wait":
            continue
        request: dict[str, Any] = {}
        for option, value in zip(words[3:], [*words[4:], "--"], strict=True):
            if option.startswith("--"):
                name = "".join(part.capitalize() for part in option.removeprefix("--no-").lstrip("-").split("-"))
                request[name] = not option.startswith("--no-") if value.startswith("--") else _argument(value)
        request.pop("RestoreDateTime", None)  # Moto restores the latest state.
        getattr(client("dynamodb"), words[2].replace("-", "_"))(**request)


def _argument(text: str) -> Any:
    if "=" not in text:
        return text
    fields = dict(field.split("=", 1) for field in text.split(","))
    return {name: value == "true" if value in ("true", "false") else value for name, value in fields.items()}


def begin_work(stack: OfflineStack) -> None:
    """Begin what the sweep alone can continue: a sleep of a week, a schedule, and a task whose worker has died."""
    stack.options(target="worker").start("sleeping_workflow", "w1", 7 * 86_400.0, id="w1")
    call = encode_call("hello_world", ("World",), {}, 1)
    tags, now = {TARGET: "poll://any@worker", FUNC: "hello_world"}, stack.clock.now()
    for request in (
        ScheduleCreate("nightly", "@daily", "nightly.{{.timestamp}}", 2 * DAY, call, tags),
        TaskCreate("dead", 60_000, PromiseCreate("leased", now + DAY, call, tags)),
    ):
        assert stack.store.apply(request).ok


def complete_work(stack: OfflineStack) -> None:
    """Assert that all of it is completed, the sleep in its time."""
    stack.advance(days=1)
    assert present(stack.store.record("leased")).state == "resolved"
    schedule = present(stack.store.apply(ScheduleGet("nightly")).schedule)
    assert present(stack.store.record(present(schedule.last_promise))).state == "resolved"
    stack.run_until_complete("w1")
    record = present(stack.store.record("w1"))
    assert record.state == "resolved"
    assert record.settled_at is not None
    assert 7 * DAY <= record.settled_at - record.created_at < 7 * DAY + 120_000
    assert stack.run("hello_world", "World") == "Hello World!"


def test_executions_continue_in_a_restored_table() -> None:
    with mock_aws(), OfflineStack(name="books") as damaged:
        assert overrides(1) == {f"{name}Concurrency": "0" for name in ("Worker", "Dispatch", "Tick", "Api")}, (
            "everything is stopped"
        )
        begin_work(damaged)
        damaged.store.apply(PromiseCreate("large", damaged.clock.now() + DAY, tags={TARGET: "poll://any@worker"}))
        assert damaged.store.apply(PromiseSettle("large", "resolved", LARGE)).ok
        damaged.pump()
        table, bucket = damaged.deployment.table_name, damaged.deployment.bucket

        carry_out(damaged.cloud.client, 2, DAMAGED=table, RESTORED=RESTORED)
        carry_out(damaged.cloud.client, 3, RESTORED=RESTORED)
        restored = damaged.cloud.client("dynamodb").describe_table(TableName=RESTORED)["Table"]
        now = damaged.clock.now()
        # The stack is deleted with its queues and timers. Table and bucket are retained.
        damaged.deployment = replace(damaged.deployment, creates_table=False, creates_bucket=False)
        label = restored["LatestStreamLabel"]
        parameters = {**overrides(4, STREAM=label, DAMAGED=table, RESTORED=RESTORED), "ExistingBucketName": bucket}
        with damaged.set_aside(), OfflineStack(name="books", parameters=parameters) as stack:
            stack.clock.sleep(now - stack.clock.now())
            assert stack.deployment.table_name == stack.deployment.outputs["TableName"] == RESTORED
            assert stack.deployment.bucket == bucket
            carry_out(stack.cloud.client, 7, DAMAGED=table)
            promise = present(stack.store.apply(PromiseCreate("large", now + DAY)).promise)
            assert promise.value == LARGE
            complete_work(stack)
            tables = {*stack.cloud.client("dynamodb").get_paginator("list_tables").paginate().search("TableNames[]")}
            assert {table, RESTORED} & tables == {RESTORED}


def test_executions_continue_after_only_the_stack_was_deleted() -> None:
    """The table and the bucket are retained, so step 4 is the first."""
    with mock_aws(), OfflineStack(name="books") as deleted:
        begin_work(deleted)
        deleted.store.apply(PromiseCreate("large", deleted.clock.now() + DAY, tags={TARGET: "poll://any@worker"}))
        assert deleted.store.apply(PromiseSettle("large", "resolved", LARGE)).ok
        deleted.pump()
        table, bucket, now = deleted.deployment.table_name, deleted.deployment.bucket, deleted.clock.now()
        described = deleted.cloud.client("dynamodb").describe_table(TableName=table)["Table"]
        assert described["DeletionProtectionEnabled"]
        deleted.deployment = replace(deleted.deployment, creates_table=False, creates_bucket=False)
        words = {"STREAM": described["LatestStreamLabel"], "DAMAGED": "", "RESTORED": table}
        parameters = {**overrides(4, **words), "ExistingBucketName": bucket}
        with deleted.set_aside(), OfflineStack(name="books", parameters=parameters) as stack:
            stack.clock.sleep(now - stack.clock.now())
            assert (stack.deployment.table_name, stack.deployment.bucket) == (table, bucket)
            promise = present(stack.store.apply(PromiseCreate("large", now + DAY)).promise)
            assert promise.value == LARGE
            complete_work(stack)
            carry_out(stack.cloud.client, 7, DAMAGED=table)  # so that the first stack deletes nothing when it ends


def test_restore_with_an_arn_as_stream_label_is_refused() -> None:
    with pytest.raises(ParameterError, match="ExistingTableStream"):
        OfflineStack(name="books", parameters={"ExistingTableStream": "arn:aws:dynamodb"})
