"""`resonate console --table` on the offline stack, in Chromium."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

from resonate_infra.testing.endpoint import Endpoint, deploy
from resonate_store.dynamo.large_values import Payloads
from resonate_store.dynamo.store import DynamoStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import TaskGet
from tests.support.browser import Visitor, needs_chromium
from tests.support.console_demo import MONDAY, fill
from tests.support.environments import Process
from tests.support.hypothesis_settings import in_ci
from tests.support.present import present

COMMAND = [sys.executable, "-m", "resonate_infra.cli", "console"]


@in_ci
@needs_chromium
def test_console_of_a_table_shows_and_continues_executions(visit: Callable[..., Visitor]) -> None:
    with Endpoint() as endpoint:
        deployment = deploy(endpoint)
        payloads = Payloads(deployment.bucket, f"{deployment.table_name}/", client=endpoint.client("s3"), width=1)
        clock = ManualClock(MONDAY)
        client: Any = endpoint.client("dynamodb")
        store = DynamoStore(deployment.table_name, client=client, clock=clock, payloads=payloads)
        fill(store, clock)
        console = Process(
            [*COMMAND, "--table", deployment.table_name, "--port", "0"],
            AWS_ENDPOINT_URL=endpoint.url,
            AWS_ACCESS_KEY_ID="testing",
            AWS_SECRET_ACCESS_KEY="testing",
            AWS_DEFAULT_REGION="us-east-1",
            RESONATE_BUCKET=deployment.bucket,
        )
        try:
            found = re.match(r"(http://localhost:\d+)/console", console.line("the console is at "))
            assert found is not None
            visitor = visit(found[1])
            page = visitor.open("/executions")
            assert page.get_by_text(f"Promises: the table {deployment.table_name}").is_visible()
            page.get_by_role("link", name="order-4119").click()
            page.get_by_role("link", name="charge").click()
            page.get_by_text("Attempt 2 failed at").wait_for()

            visitor.open("/execution?id=refund-88")
            page.get_by_role("button", name="Continue").click()
            page.get_by_text("Continued. Its task is offered to the workers.").wait_for()
            assert present(store.apply(TaskGet("refund-88")).task).state == "pending"
        finally:
            console.kill()
