import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest

from resonate_infra.deployed.wiring import CLIENT, Wiring
from resonate_infra.effects.settings import SettingsError
from tests.support.variables import ENVIRONMENT

SERVICES = ("sqs", "scheduler", "dynamodb")


@pytest.fixture
def environment() -> Iterator[None]:
    with patch.dict(os.environ, {**ENVIRONMENT, "AWS_DEFAULT_REGION": "us-east-1"}):
        yield


@pytest.mark.usefixtures("environment")
def test_wiring_builds_each_part_once() -> None:
    wiring = Wiring()

    assert wiring.store.table == "promises"
    assert wiring.store.groups == {"worker": "lambda://worker", "remote": "https://worker.example.com/"}
    assert wiring.outlets.store is wiring.store
    assert wiring.outlets.retention_s == 86_400
    assert wiring.dispatch is wiring.dispatch
    assert wiring.tick is wiring.tick


def test_wiring_reads_the_environment_at_its_first_use() -> None:
    with patch.dict(os.environ, {}, clear=True):
        wiring = Wiring()
        with pytest.raises(SettingsError, match="the environment lacks RESONATE_TABLE"):
            _ = wiring.tick


@pytest.mark.usefixtures("environment")
def test_dispatcher_pushes_to_the_internet_only_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESONATE_PUSH_TOKEN", "")
    for private, public_only in ((None, True), ("", True), ("off", True), ("on", False)):
        if private is not None:
            monkeypatch.setenv("RESONATE_PUSH_PRIVATE", private)
        with patch("resonate_infra.deployed.wiring.Pusher") as pusher:
            _ = Wiring().dispatch
        assert pusher.call_args.kwargs == {"token": None, "public_only": public_only, "width": 10}


def test_clients_time_out_before_the_function() -> None:
    # All tries and their pauses must take less than the 60 s of the functions.
    config: Any = CLIENT

    assert (config.connect_timeout + config.read_timeout) * config.retries["total_max_attempts"] <= 50


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("http://127.0.0.1:4566", dict.fromkeys(SERVICES, "http://127.0.0.1:4566")),
        ("", {service: f"https://{service}.us-east-1.amazonaws.com" for service in SERVICES}),
    ],
)
def test_clients_use_the_endpoint_of_the_environment_if_set(named: str, expected: dict[str, str]) -> None:
    program = "\n".join(
        [
            "from botocore.session import Session",
            "from resonate_infra.deployed.wiring import Wiring",
            "make = Session.create_client",
            "def made(*arguments, **options):",
            "    client = make(*arguments, **options)",
            "    print(client.meta.service_model.service_name, client.meta.endpoint_url)",
            "    return client",
            "Session.create_client = made",
            "wiring = Wiring()",
            "wiring.timers",
            "wiring.store.connect()",
        ]
    )
    somewhere = {"AWS_ENDPOINT_URL": named, "AWS_DEFAULT_REGION": "us-east-1"}
    completed = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **ENVIRONMENT, **somewhere},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert dict(line.split() for line in completed.stdout.splitlines()) == expected
