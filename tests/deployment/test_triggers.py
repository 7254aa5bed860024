"""The page about triggers: its code runs in the functions of its template, beside the deployment, offline."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from samtranslator.yaml_helper import yaml_parse  # pyright: ignore[reportUnknownVariableType]

from resonate_infra.testing.stack import OfflineStack
from resonate_store.model.execution_requests import ExecutionSearch
from tests.support.shipped_template import ROOT

PAGE = (ROOT / "docs" / "triggers.md").read_text(encoding="utf-8")
SAMPLES = ROOT / "tests" / "unit" / "infra" / "triggers" / "events"
SOURCES = {"OrderEvents": "eventbridge", "UploadEvents": "s3", "OrderChanges": "dynamodb"}
WORKER = """
from resonate import Resonate

resonate = Resonate()
resonate.register(lambda ctx, order: order, name="order")
resonate.register(lambda ctx, order_id: order_id, name="pay")
resonate.register(lambda ctx, change: change["key"], name="upload")
resonate.register(lambda ctx, change: change["event"], name="audit")
handler = resonate.handler()
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def template() -> str:
    """Return the template of the page, with the parts that it adds to the resources."""
    return "\n".join(blocks("yaml"))


def deployed_with(triggers: dict[str, Any], shipped: dict[str, Any]) -> dict[str, Any]:
    """Return the shipped template with the functions and queues of the page.

    The offline stack delivers messages of queues. It has no rules, notifications or second table, so the test invokes
    the other functions. Parameters get the values that the deployment writes to the parameter store.
    """
    values = {"TableName": "resonate-PromiseTable", "BucketName": "resonate-payloadbucket", "LayerArn": "layer"}
    parameters = {
        name: {"Type": "String", "Default": values.get(name, declared["Default"])}
        for name, declared in triggers["Parameters"].items()
        if name not in shipped["Parameters"]
    }
    for resource in triggers["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            general = {name: value for name, value in triggers["Globals"]["Function"].items() if name != "Layers"}
            resource["Properties"] = {**general, **resource["Properties"]}
            if "Messages" not in resource["Properties"].get("Events", {}):
                resource["Properties"].pop("Events")
    left_out = ("AWS::S3::Bucket", "AWS::DynamoDB::Table")
    added = {name: each for name, each in triggers["Resources"].items() if each["Type"] not in left_out}
    assert not added.keys() & shipped["Resources"].keys()
    return {
        **shipped,
        "Parameters": {**shipped["Parameters"], **parameters},
        "Resources": {**shipped["Resources"], **added},
    }


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OfflineStack]:
    directory = tmp_path_factory.mktemp("triggers")
    (code,) = (block for block in blocks("python") if block.startswith("# app.py"))
    app, worker, file = directory / "app.py", directory / "orders.py", directory / "template.yaml"
    app.write_text(code)
    worker.write_text(WORKER)
    document = deployed_with(yaml_parse(template()), yaml_parse((ROOT / "template.yaml").read_text()))
    for resource in document["Resources"].values():
        if "CodeUri" in resource.get("Properties", {}):
            resource["Properties"]["CodeUri"] = str(ROOT / resource["Properties"]["CodeUri"])
    file.write_text(yaml.dump(json.loads(json.dumps(document))))
    triggers = dict.fromkeys(("OrderMessages", *SOURCES), app)
    with OfflineStack(template=file, code={**triggers, "WorkerFunction": worker}) as stack:
        yield stack


def sent(stack: OfflineStack, *bodies: str) -> None:
    for body in bodies:
        stack.cloud.client("sqs").send_message(QueueUrl=stack.deployment.queues["Orders"].url, MessageBody=body)


def ids(stack: OfflineStack) -> list[str]:
    answer = stack.store.apply(ExecutionSearch(limit=100))
    return sorted(execution.promise.id for execution in answer.executions or ())


def dead(stack: OfflineStack) -> list[str]:
    url = stack.deployment.queues["FailedEvents"].url
    answer = stack.cloud.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [message["Body"] for message in answer.get("Messages", [])]


def test_template_of_the_page_passes_cfn_lint(tmp_path: Path) -> None:
    file = tmp_path / "template.yaml"
    file.write_text(template())
    done = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), file], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_messages_that_are_duplicated_start_one_execution_each(stack: OfflineStack) -> None:
    stack.duplicate = True
    sent(stack, *(json.dumps({"orderId": number}) for number in (3, 1, 2, 1)))
    stack.pump()

    assert [stack.result(f"order-{number}") for number in (1, 2, 3)] == [{"orderId": number} for number in (1, 2, 3)]
    assert ids(stack) == ["order-1", "order-2", "order-3"]
    assert dead(stack) == []


def test_poisoned_messages_end_in_the_dead_letter_queue_alone(stack: OfflineStack) -> None:
    sent(stack, "{", '{"orderId": 1}', '{"number": 2}', '{"orderId": 3}')
    stack.pump()
    assert [stack.result(f"order-{number}")["orderId"] for number in (1, 3)] == [1, 3]

    stack.advance(minutes=40)
    assert sorted(dead(stack)) == ["{", '{"number": 2}']
    assert ids(stack) == ["order-1", "order-3"]


def test_function_that_died_in_a_batch_starts_the_rest_later(stack: OfflineStack) -> None:
    calls = 0

    def die(moment: str, call: Any) -> None:
        nonlocal calls
        calls += moment == "after" and call[:2] == ("dynamodb", "PutItem") and call.caller == "OrderMessages"
        if calls == 2:
            calls += 1
            raise Exception("the process ended")

    stack.cloud.fault = die
    sent(stack, *(json.dumps({"orderId": number}) for number in (1, 2, 3)))
    stack.pump()
    stack.cloud.fault = None
    stack.advance(minutes=7)

    assert [stack.result(f"order-{number}")["orderId"] for number in (1, 2, 3)] == [1, 2, 3]
    assert dead(stack) == []


def test_events_of_other_sources_start_executions_once(stack: OfflineStack) -> None:
    for function, source in SOURCES.items():
        event = json.loads((SAMPLES / f"{source}.json").read_text())
        assert stack.invoke(function, event) == stack.invoke(function, event)
        stack.pump()

    assert {id: stack.result(id) for id in ids(stack)} == {
        "pay-7bf73129-1428-4cd3-a780-95db273d1602": 17,
        "shop%2Eorders/in/order 17%2Ejson/0055AED6DCD90281E5": "in/order 17.json",
        "audit-f07f8ca4b0b26cb9c4e5e77e69f274ee": "INSERT",
        "audit-f07f8ca4b0b26cb9c4e5e77e69f274ef": "REMOVE",
    }


def test_role_of_the_page_allows_what_the_functions_call(stack: OfflineStack) -> None:
    sent(stack, '{"orderId": 1}', json.dumps({"orderId": 2, "text": "x" * 100_000}))
    stack.pump()
    role = yaml_parse(template())["Resources"]["TriggerRole"]["Properties"]
    (policy,) = role["Policies"]
    allowed = {
        action
        for statement in policy["PolicyDocument"]["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    called = {f"{call.service}:{call.operation}" for call in stack.calls if call.caller == "OrderMessages"}

    assert {"dynamodb:PutItem", "lambda:Invoke", "s3:PutObject"} <= called
    assert {name.replace("lambda:Invoke", "lambda:InvokeFunction") for name in called} <= allowed
