import os
import subprocess
import sys
from collections.abc import Iterator
from unittest.mock import patch

import pytest

from resonate_infra.deployed.wiring import CLIENT, Wiring
from resonate_infra.effects.settings import SettingsError
from tests.support.variables import ENVIRONMENT

SERVICES = ("sqs", "scheduler", "lambda", "dynamodb")


@pytest.fixture
def environment() -> Iterator[None]:
    with patch.dict(os.environ, {**ENVIRONMENT, "AWS_DEFAULT_REGION": "us-east-1"}):
        yield


@pytest.mark.usefixtures("environment")
def test_wiring_builds_each_part_once() -> None:
    wiring = Wiring()

    assert wiring.store.table == "promises"
    assert wiring.store.groups == {"worker": "lambda://worker", "remote": "https://worker.example.com/"}
    assert wiring.outlets.store.table == wiring.store.table
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
    assert (CLIENT.connect_timeout_s + CLIENT.read_timeout_s) * CLIENT.attempts <= 50


@pytest.mark.parametrize("client", ["auto", "boto3"])
@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("http://127.0.0.1:4566", dict.fromkeys(SERVICES, "http://127.0.0.1:4566")),
        ("", {service: f"https://{service}.us-east-1.amazonaws.com" for service in SERVICES}),
    ],
)
def test_clients_use_the_endpoint_of_the_environment_if_set(named: str, expected: dict[str, str], client: str) -> None:
    program = "\n".join(
        [
            "from botocore.session import Session",
            "from resonate_infra.deployed.wiring import Wiring",
            "from resonate_store.aws.calls import ServiceCalls",
            "make, make_own = Session.create_client, ServiceCalls.__init__",
            "def made(*arguments, **options):",
            "    client = make(*arguments, **options)",
            "    print(client.meta.service_model.service_name, client.meta.endpoint_url)",
            "    return client",
            "def made_own(self, service, region, url, *arguments, **options):",
            "    print(service, url)",
            "    make_own(self, service, region, url, *arguments, **options)",
            "Session.create_client, ServiceCalls.__init__ = made, made_own",
            "wiring = Wiring()",
            "wiring.timers._scheduler.create_schedule",
            "wiring.transports",
            "wiring.store.connect()",
        ]
    )
    somewhere = {"AWS_ENDPOINT_URL": named, "AWS_DEFAULT_REGION": "us-east-1", "RESONATE_CLIENT": client}
    assert dict(line.split() for line in alone(program, somewhere).splitlines()) == expected


@pytest.mark.parametrize("part", ["dispatch", "tick"])
def test_boto3_is_not_loaded_before_it_is_needed(part: str) -> None:
    program = (
        f"from resonate_infra.deployed.wiring import Wiring; Wiring().{part}; import sys; print('boto3' in sys.modules)"
    )

    assert alone(program, {"AWS_REGION": "us-east-1"}) == "False\n"


def alone(program: str, environment: dict[str, str]) -> str:
    """What a program prints in a process with credentials in its environment and no settings of this machine's."""
    bundles = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
    here = {name: value for name, value in os.environ.items() if name not in bundles}
    completed = subprocess.run(
        [sys.executable, "-c", program],
        env={**here, "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", **ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return completed.stdout
