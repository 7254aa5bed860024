"""`resonate console`: the console of a deployment on this machine."""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from resonate_infra.cli.commands import console
from resonate_infra.server.assembly import Server, ServerOptions
from tests.support.command_line import CommandLine
from tests.support.console_pages import text_of
from tests.support.environments import ROOT, Process

COMMAND = [sys.executable, "-m", "resonate_infra.cli", "console"]


def test_console_of_a_server_ends_with_ctrl_c(server: Server, resonate: CommandLine, id: str) -> None:
    resonate.ok("invoke", id, "--func", "double", "-a", "1", "-t", "worker", "-w")
    process = Process([*COMMAND, "--url", server.url, "--port", "0"])
    try:
        url = process.line("the console is at ").partition(";")[0]
        page = httpx.get(f"{url}/execution", params={"id": id}).text
        assert f"Promises: {server.url}" in page
        assert ">resolved<" in page
        assert process.end(signal.SIGINT) == 0
    finally:
        process.kill()


def test_port_that_is_in_use_is_named(server: Server, resonate: CommandLine) -> None:
    code, error = resonate.fails("console", "--port", str(server.port))
    assert (code, f"cannot listen on localhost:{server.port}" in error) == (1, True)


def test_functions_that_a_server_names_are_asked_on_demand() -> None:
    aws = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    said = {
        (): "to ask it what it serves, with your AWS credentials: resonate console --ask-functions",
        ("--ask-functions",): "it cannot be asked with your AWS credentials what it serves: Could not connect",
    }
    with Server(ServerOptions(port=0, groups={"shop": "lambda://shop"})).running() as server:
        for options, why in said.items():
            command = [*COMMAND, "--url", server.url, "--port", "0", *options]
            process = Process(command, ROOT, **aws, AWS_DEFAULT_REGION="us-east-1", AWS_MAX_ATTEMPTS="1")
            try:
                url = process.line("the console is at ").partition(";")[0]
                assert f"shop lambda://shop {why}" in text_of(httpx.get(f"{url}/workers", timeout=60).text)
            finally:
                process.kill()


class Body:
    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def read(self) -> bytes:
        return json.dumps(self._answer).encode()


class Aws:
    """Client of Lambda with one function."""

    def invoke(self, **invocation: Any) -> Any:
        assert invocation["InvocationType"] == "RequestResponse"
        assert json.loads(invocation["Payload"]) == {"kind": "describe"}
        shop = invocation["FunctionName"] == "shop"
        if invocation["FunctionName"] == "secret":
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "Invoke")
        if invocation["FunctionName"] == "far":
            raise NoCredentialsError
        return {
            "Payload": Body({"functions": [{"name": "f"}]} if shop else {"errorMessage": "expected an execute message"})
        }


def test_function_is_asked_for_its_descriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boto3.client", lambda _: Aws())
    assert console.describe("lambda://shop") == [{"name": "f"}]
    assert console.describe("lambda://other") == "it does not answer what it serves"
    assert "AccessDeniedException" in console.describe("lambda://secret")
    assert "Unable to locate credentials" in console.describe("lambda://far")
