"""API function, with events of API Gateway and with requests of the offline stack."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from resonate_infra.testing.moto.cloud import CountedCall
from resonate_infra.testing.stack import OfflineStack
from resonate_store.model.clock import ManualClock
from resonate_store.protocol.wire import OWN_KINDS
from tests.deployment.functions.conftest import NIGHT, Load, ask
from tests.support.envelopes import read
from tests.support.tokens import public
from tests.support.tokens import token as token_of

DAY = 86_400_000
TARGET = {"resonate:target": "poll://any@worker"}


def create(id: str, **tags: str) -> dict[str, Any]:
    return {"id": id, "timeoutAt": NIGHT + DAY, "tags": tags}


def test_api_answers_an_event_of_api_gateway(begun: OfflineStack, event: Load) -> None:
    response = begun.invoke("ApiFunction", event("api"))

    assert response["statusCode"] == 200
    answer = json.loads(response["body"])
    assert answer["head"] == {
        "corrId": "1",
        "status": 200,
        "version": "2026-04-01",
        "resonate:time": begun.clock.now(),
        "resonate:kinds": [kind for kind in OWN_KINDS if kind != "execution.delete"],
    }
    assert answer["data"]["promise"]["state"] == "pending"
    assert answer["data"]["task"]["state"] == "pending"


def test_api_decodes_a_base64_body(begun: OfflineStack, event: Load) -> None:
    received = event("api")
    received |= {"body": base64.b64encode(received["body"].encode()).decode(), "isBase64Encoded": True}
    received["headers"] |= {"Content-Type": "application/octet-stream"}

    assert begun.invoke("ApiFunction", received)["statusCode"] == 200


def test_api_starts_a_workflow_and_returns_its_outcome(stack: OfflineStack) -> None:
    call = json.dumps({"func": "sleeping_workflow", "args": ["w", 60.0], "kwargs": {}, "version": 1})
    param = {"data": base64.b64encode(call.encode()).decode()}
    created = ask(stack, "promise.create", {**create("w", **TARGET), "param": param})
    stack.run_until_complete("w")
    promise = ask(stack, "promise.get", {"id": "w"}).data["promise"]

    assert created.data["promise"]["state"] == "pending"
    assert promise["state"] == "resolved"
    assert "completed after sleeping" in base64.b64decode(promise["value"]["data"]).decode()


def test_api_refuses_the_target_of_an_unmapped_group(stack: OfflineStack) -> None:
    answer = ask(stack, "promise.create", create("w", **{"resonate:target": "poll://any@elsewhere"}))

    assert answer.status == 400
    assert "'elsewhere'" in answer.data
    assert "RESONATE_GROUPS" in answer.data


def test_api_answers_malformed_requests_with_an_envelope(stack: OfflineStack) -> None:
    for body in (b"", b"nonsense", b"\xff\xfe", b"[]", b"[" * 50_000):
        response = stack.api(body)
        assert read((response.status, response.body)).status == 400


DEBUGGING = [
    ("debug.start", {}, {}),
    ("debug.reset", {}, {}),
    ("debug.snap", {}, {}),
    ("debug.tick", {"time": 0}, {}),
    ("promise.get", {"id": "p"}, {"resonate:debug_time": 0}),
]


def test_api_refuses_debug_requests(stack: OfflineStack) -> None:
    assert [ask(stack, kind, data, **head).status for kind, data, head in DEBUGGING] == [403] * len(DEBUGGING)


def test_api_refuses_debug_requests_with_the_parameter_debug() -> None:
    # The parameter `Debug` is about logs only.
    with OfflineStack(parameters={"Debug": "on"}, name="talkative", clock=ManualClock(NIGHT)) as stack:
        ask(stack, "promise.create", create("p"))
        assert [ask(stack, kind, data, **head).status for kind, data, head in DEBUGGING] == [403] * len(DEBUGGING)
        assert ask(stack, "promise.get", {"id": "p"}).data["promise"]["state"] == "pending"


def test_api_answers_health_and_ready(stack: OfflineStack) -> None:
    assert stack.api(method="GET", path="/health")[::2] == (200, b"")
    assert stack.api(method="GET", path="/ready")[::2] == (200, b"")


def test_api_is_not_ready_without_its_table(stack: OfflineStack) -> None:
    def unreachable(moment: str, call: CountedCall) -> None:
        if moment == "before" and call.service == "dynamodb":
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, call.operation)

    stack.cloud.fault = unreachable
    answer = ask(stack, "promise.get", {"id": "a"})

    assert stack.api(method="GET", path="/ready").status == 503
    assert stack.api(method="GET", path="/health").status == 200
    assert (answer.status, answer.data) == (503, "The store cannot answer at the moment")


def test_api_has_no_other_routes(stack: OfflineStack) -> None:
    routes = [("GET", "/"), ("POST", "/health"), ("GET", "/poll")]
    assert [stack.api(method=method, path=path).status for method, path in routes] == [403] * 3
    assert stack.invocations["ApiFunction"] == 0


def test_api_without_key_refuses_unsigned_requests(stack: OfflineStack, event: Load) -> None:
    for method, path in (("POST", "/"), ("GET", "/health"), ("GET", "/ready")):
        stack.reset_counts()
        assert stack.api(method=method, path=path, signed=False).status == 403
        assert stack.invocations["ApiFunction"] == 0

        passed_on = event("api")  # Another stage may not require signatures.
        passed_on["requestContext"] |= {"resourcePath": path, "httpMethod": method}
        passed_on["requestContext"]["identity"]["userArn"] = None
        assert stack.invoke("ApiFunction", passed_on)["statusCode"] == 403


def test_api_names_the_groups_and_admits_no_announcement(stack: OfflineStack) -> None:
    answer = ask(stack, "worker.search", {})
    assert answer.status == 200
    assert [each["group"] for each in answer.data["workers"]] == ["default", "worker"]
    assert {each["address"].partition("://")[0] for each in answer.data["workers"]} == {"lambda"}
    assert ask(stack, "worker.announce", {"group": "worker", "id": "w", "functions": []}).status == 400


@pytest.fixture(scope="module")
def guarded() -> Iterator[OfflineStack]:
    parameters = {
        "AuthPublicKey": public("rsa"),
        "AuthIssuer": "us",
        "CorsOrigins": "https://example.com, https://other.example",
    }
    with OfflineStack(clock=ManualClock(NIGHT), parameters=parameters, name="guarded") as stack:
        yield stack


def token(**claims: Any) -> str:
    return token_of(**{"exp": NIGHT // 1000 + 3600, "iss": "us", **claims})


def test_api_with_key_verifies_tokens(guarded: OfflineStack) -> None:
    def status(auth: str | None) -> int:
        return ask(guarded, "promise.get", {"id": "t1.a"}, auth=auth, signed=False).status

    assert status(token()) == 404
    assert status(token(iss="them")) == 401
    assert status(token(prefix="t2.")) == 403
    assert status(None) == 401


def test_token_for_some_ids_does_not_see_the_groups(guarded: OfflineStack) -> None:
    def groups(auth: str) -> list[str]:
        found = ask(guarded, "worker.search", {}, auth=auth, signed=False)
        return [each["group"] for each in found.data["workers"]]

    assert groups(token(prefix="")) == ["default", "worker"]
    assert groups(token(prefix="t1.")) == []


def test_api_admits_pages_of_listed_origins(guarded: OfflineStack) -> None:
    def allowed(origin: str, method: str) -> str | None:
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        return guarded.api(method=method, headers=headers, signed=False).headers.get("Access-Control-Allow-Origin")

    for method in ("OPTIONS", "POST"):
        assert allowed("https://example.com", method) == "https://example.com"
        assert allowed("https://other.example", method) == "https://other.example"
        assert allowed("https://evil.example", method) is None


def test_api_admits_no_page_by_default(stack: OfflineStack) -> None:
    response = stack.api(method="OPTIONS", headers={"Origin": "https://example.com"})

    assert response.status == 204
    assert not any(name.lower().startswith("access-control") for name in response.headers)


def test_other_functions_do_not_import_chalice() -> None:
    root = Path(__file__).parents[3]
    modules = "functions.worker.app, functions.dispatch.app, functions.tick.app"
    script = f"import sys, {modules}; print(*sorted(sys.modules.keys() & {{'chalice', 'jwt', 'cryptography'}}))"
    completed = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)

    assert completed.stdout.split() == []
