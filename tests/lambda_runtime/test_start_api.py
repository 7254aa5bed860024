"""`sam local start-api` without Docker: SAM's own gateway reads template.yaml and serves the API over HTTP.

Only the container is missing. The function runs in the same Lambda runtime under the same emulator, and the same
variable marks it as served by SAM.
"""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.hypothesis_settings import in_ci
from tests.support.lambda_runtime.emulator import RuntimeEmulator, needs_runtime
from tests.support.lambda_runtime.stack import ROOT, RuntimeStack, wait_until
from tests.support.ports import free_port, is_open

pytestmark = needs_runtime

SAM = Path(sys.prefix, "tools", "bin", "python")
DEADLINE = 2**48
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def started(function: RuntimeEmulator) -> Iterator[str]:
    """Serve the API with SAM and this function. Yield the address."""
    port = free_port()
    command = [SAM, ROOT / "tests" / "support" / "lambda_runtime" / "start_api.py", ROOT / "template.yaml", str(port)]
    environment = {**os.environ, "SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1", "PYTHONPATH": ""}
    with subprocess.Popen(
        [*command, f"ApiFunction={function.url}"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_until(lambda: process.poll() is not None or is_open(port), within=60)
            assert process.poll() is None, "SAM has ended"
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def ask(url: str, path: str = "/", body: Any = None, **more: Any) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"}, **more)
    try:
        with OPENER.open(request, timeout=60) as response:
            return response.status, json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"null")


def request(kind: str, **data: Any) -> dict[str, Any]:
    return {"kind": kind, "head": {"corrId": "1", "version": "2026-04-01"}, "data": data}


def test_sam_local_serves_the_api(deployed: RuntimeStack) -> None:
    function = deployed.start("ApiFunction", environment={"AWS_SAM_LOCAL": "true"})
    with started(function) as url:
        created = ask(url, body=request("promise.create", id="p1", timeoutAt=DEADLINE))
        found = ask(url, body=request("promise.get", id="p1"))
        ready = ask(url, "/ready", method="GET")
        preflight = ask(url, method="OPTIONS")
        elsewhere, _ = ask(url, "/promises", method="GET")

    assert (created[0], created[1]["data"]["promise"]["state"]) == (200, "pending")
    assert (found[0], found[1]["data"]["promise"]["id"]) == (200, "p1")
    assert deployed.record("p1").pending
    assert ready == (200, None)
    assert preflight == (204, None)
    assert elsewhere == 403


@in_ci
def test_unsigned_request_without_sam_is_refused(deployed: RuntimeStack) -> None:
    with started(deployed.start("ApiFunction")) as url:
        status, answer = ask(url, body=request("promise.get", id="p1"))

    assert status == 403
    assert "Sign the request" in answer["message"]
