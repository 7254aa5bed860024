"""Faults that are planted in a deployment, an account, a server or this machine, and found by `resonate doctor`."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import formatdate
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import boto3
import pytest
from moto import mock_aws
from moto.backends import get_backend

from resonate_infra.cli.doctor import checks
from resonate_infra.server.assembly import Server, ServerOptions
from resonate_infra.testing.moto.sessions import ReusingSession
from resonate_infra.testing.template.deployment import Deployment
from resonate_infra.testing.template.resources import create
from resonate_infra.testing.template.template import Template, TemplateStack, load
from resonate_store.model.clock import ManualClock, ambient, installed
from tests.support.account import CREATORS
from tests.support.command_line import CommandLine, Ran
from tests.support.hypothesis_settings import in_ci
from tests.support.shipped_template import ROOT
from tests.support.tokens import public, token


class Account:
    """AWS account with a deployment, and with answers of Lambda that moto does not know."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.recursion = "Allow"
        self.table = deployment.table_name
        self.command_line = CommandLine(RESONATE_TABLE=self.table, RESONATE_BUCKET=deployment.bucket)
        self._answers: dict[tuple[str, str], Callable[[], Any]] = {}
        # The clients of the doctor are created later, and have this hook.
        events: Any = boto3.DEFAULT_SESSION.events  # pyright: ignore[reportOptionalMemberAccess]
        events.register_first("before-call", self._before_call)
        self.answers("lambda", "GetFunctionRecursionConfig", lambda: {"RecursiveLoop": self.recursion})
        self.answers("lambda", "Invoke", lambda: {"StatusCode": 204}, status=204)

    def answers(self, service: str, operation: str, answer: Callable[[], dict[str, Any]], status: int = 200) -> None:
        """Answer an operation from now on."""
        metadata = {"ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {}}}
        self._answers[service, operation] = lambda: (SimpleNamespace(status_code=status), {**metadata, **answer()})

    def _before_call(self, model: Any, **_: Any) -> Any:
        answer = self._answers.get((model.service_model.service_name, model.name))
        return None if answer is None else answer()

    def refuses(self, service: str, operation: str, code: str) -> None:
        """Answer an operation with an error from now on."""
        error = {"Code": code, "Message": f"{operation} is refused"}
        self.answers(service, operation, lambda: {"Error": error}, status=400)

    def client(self, service: str) -> Any:
        library: Any = boto3
        return library.client(service)

    def variables(self, function: str, **variables: str) -> None:
        """Change variables of a function."""
        name = f"market-{function}"
        found = self.client("lambda").get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        self.client("lambda").update_function_configuration(
            FunctionName=name, Environment={"Variables": {**found, **variables}}
        )

    def parameter(self, name: str, value: str) -> None:
        self.client("ssm").put_parameter(Name=f"/resonate/{name}", Value=value, Type="String", Overwrite=True)


def empty() -> None:
    """Delete what tests before have created, because one of them may keep moto open in this process."""
    for service in ("dynamodb", "iam", "lambda", "s3", "scheduler", "sqs", "ssm"):
        for regions in list(get_backend(service).values()):
            for backend in regions.values():
                backend.reset()


def present_session() -> Any:
    boto3.DEFAULT_SESSION = ReusingSession("us-east-1")
    return boto3.DEFAULT_SESSION


READ_PACKAGES = importlib.metadata.packages_distributions


@cache
def _packages(_path: tuple[str, ...]) -> Mapping[str, list[str]]:
    return READ_PACKAGES()


@pytest.fixture(autouse=True)
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the files of all distributions once for each `sys.path`, because it takes half a second."""
    monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: _packages(tuple(sys.path)))


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "RESONATE_DELIVERY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "SECRETOFTEST")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws(), pytest.MonkeyPatch.context() as sessions:
        sessions.setattr(boto3, "DEFAULT_SESSION", None)
        empty()
        session = present_session()
        yield Account(create(_template(), session.client, {name: CREATORS[name] for name in CREATED}))
        empty()


CREATED = (
    "AWS::IAM::Role",
    "AWS::SSM::Parameter",
    *(f"AWS::Lambda::{name}" for name in ("Function", "LayerVersion", "EventSourceMapping")),
)
"""What the doctor looks at, beside the table and the queues."""


@cache
def _template() -> Template:
    return load(ROOT / "template.yaml", stack=TemplateStack("market"))


def findings(ran: Ran) -> dict[str, list[dict[str, str]]]:
    """Return what was found, by check, without what is well."""
    found: dict[str, list[dict[str, str]]] = {}
    for each in json.loads(ran.out)["findings"]:
        if each["level"] != "ok":
            found.setdefault(each["check"], []).append(each)
    return found


def test_healthy_deployment_has_no_finding(account: Account) -> None:
    ran = account.command_line.run("doctor")
    lines = ran.out.splitlines()

    assert (ran.code, ran.err) == (0, ""), ran
    assert [line.split()[0] for line in lines] == ["ok"] * len(checks.OF_TABLE)
    assert [line.split()[1].rstrip(":") for line in lines] == [check.name for check in checks.OF_TABLE]
    assert "SECRETOFTEST" not in ran.out
    answer = account.command_line.json("doctor", "--stack", "market")
    assert answer["ok"] is True
    assert answer["findings"][-1]["level"] == "ok"


class Plant(NamedTuple):
    """Fault to plant, and what the doctor says about it."""

    plant: Callable[[Account], Any]
    check: str
    level: str
    text: str
    way: str = ""
    environment: dict[str, str | None] = {}  # noqa: RUF012 - not changed


def _sqs_stream(account: Account) -> None:
    account.client("dynamodb").update_table(TableName=account.table, StreamSpecification={"StreamEnabled": False})


def _without_mapping(account: Account) -> None:
    for each in account.client("lambda").list_event_source_mappings(FunctionName="market-dispatch")[
        "EventSourceMappings"
    ]:
        account.client("lambda").delete_event_source_mapping(UUID=each["UUID"])


def _disabled_mapping(account: Account) -> None:
    found = account.client("lambda").list_event_source_mappings(FunctionName="market-dispatch")["EventSourceMappings"]
    mappings = [{**each, "State": "Disabled"} for each in found]
    account.answers("lambda", "ListEventSourceMappings", lambda: {"EventSourceMappings": mappings})


def _expiry(account: Account, **specification: Any) -> None:
    account.client("dynamodb").update_time_to_live(TableName=account.table, TimeToLiveSpecification=specification)


def _described(account: Account, change: Callable[[Any], Any]) -> None:
    table = account.client("dynamodb").describe_table(TableName=account.table)["Table"]
    change(table)
    account.answers("dynamodb", "DescribeTable", lambda: {"Table": table})


def _function(account: Account, **fields: Any) -> None:
    found = account.client("lambda").get_function_configuration(FunctionName="market-worker")
    account.answers("lambda", "GetFunctionConfiguration", lambda: {**found, **fields})


def _newer_layer(account: Account) -> None:
    layer = account.client("lambda").publish_layer_version(
        LayerName="market-dependencies",
        Description="resonate-serverless 9.9.9 and the packages that it needs at run time.",
        Content={"ZipFile": b"PK\5\6" + bytes(18)},
    )
    account.parameter("market/layer", layer["LayerVersionArn"])


def _denied_invocation(account: Account) -> None:
    account.refuses("lambda", "Invoke", "AccessDeniedException")


PLANTS: dict[str, Plant] = {
    "no table": Plant(
        lambda account: account.parameter("x", "y"),
        "table",
        "error",
        "nowhere does not exist in this account and region",
        "correct --table",
        {"RESONATE_TABLE": "nowhere"},
    ),
    "table being created": Plant(
        lambda account: _described(account, lambda table: table.update(TableStatus="CREATING")),
        "table",
        "error",
        "is CREATING",
        "wait until it is ACTIVE",
    ),
    "other keys": Plant(
        lambda account: _described(account, lambda table: table["KeySchema"].pop()),
        "keys",
        "error",
        "the keys of the table are pk, not pk, sk",
    ),
    "missing index": Plant(
        lambda account: account.client("dynamodb").update_table(
            TableName=account.table, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "executions"}}]
        ),
        "keys",
        "error",
        "the index executions is missing",
        "deploy the newest template",
    ),
    "other keys of an index": Plant(
        lambda account: _described(
            account,
            lambda table: [
                index["KeySchema"].reverse() or index["KeySchema"].pop()
                for index in table["GlobalSecondaryIndexes"][:1]
            ],
        ),
        "keys",
        "error",
        "the keys of the index wake are wake_at, not wake_shard, wake_at",
    ),
    "no expiry": Plant(
        lambda account: _expiry(account, Enabled=False, AttributeName="expire_at"),
        "expiry",
        "error",
        "expired items are not deleted",
        "aws dynamodb update-time-to-live --table-name market-PromiseTable",
    ),
    "expiry by another attribute": Plant(
        lambda account: _expiry(account, Enabled=True, AttributeName="created_at"), "expiry", "error", "are not deleted"
    ),
    "no stream": Plant(_sqs_stream, "stream", "error", "the stream is off", "ExistingTableStream"),
    "stream without old images": Plant(
        lambda account: _described(
            account, lambda table: table["StreamSpecification"].update(StreamViewType="KEYS_ONLY")
        ),
        "stream",
        "error",
        "the stream has only KEYS_ONLY",
    ),
    "no backups": Plant(
        lambda account: account.client("dynamodb").update_continuous_backups(
            TableName=account.table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False}
        ),
        "backups",
        "warning",
        "point-in-time recovery is off",
        "aws dynamodb update-continuous-backups",
    ),
    "no stack": Plant(
        lambda account: account.parameter("market/table", "another"),
        "stack",
        "warning",
        "no stack names market-PromiseTable",
    ),
    "two stacks": Plant(
        lambda account: account.parameter("bazaar/table", account.table),
        "stack",
        "warning",
        "several stacks use the table: bazaar, market",
        "give --stack",
    ),
    "missing function": Plant(
        lambda account: account.client("lambda").delete_function(FunctionName="market-tick"),
        "functions",
        "error",
        "market-tick does not exist",
        "deploy the stack again",
    ),
    "failed function": Plant(
        lambda account: _function(account, State="Failed", StateReason="no subnet"),
        "functions",
        "error",
        "market-worker is Failed: no subnet",
    ),
    "failed update": Plant(
        lambda account: _function(account, LastUpdateStatus="Failed"),
        "functions",
        "error",
        "the last update of market-worker failed",
    ),
    "function of another table": Plant(
        lambda account: account.variables("api", RESONATE_TABLE="former"),
        "functions",
        "error",
        "market-api uses the table former",
    ),
    "group without a function": Plant(
        lambda account: account.variables("worker", RESONATE_GROUPS='{"gpu":"lambda://gpu-worker:live"}'),
        "functions",
        "error",
        "gpu-worker does not exist",
        "correct the group gpu in Groups",
    ),
    "malformed groups": Plant(
        lambda account: account.variables("worker", RESONATE_GROUPS="{"),
        "functions",
        "error",
        "market-worker: RESONATE_GROUPS must be a JSON object",
        "correct the parameter Groups",
    ),
    "recursion detection": Plant(
        lambda account: setattr(account, "recursion", "Terminate"),
        "recursion",
        "error",
        "Lambda drops the 17th invocation of market-worker in a chain",
        "aws lambda put-function-recursion-config --function-name market-worker --recursive-loop Allow",
    ),
    "another release in the layer": Plant(
        _newer_layer, "layer", "warning", "the layer has 9.9.9, and", "or install the other"
    ),
    "no parameter of the layer": Plant(
        lambda account: account.client("ssm").delete_parameter(Name="/resonate/market/layer"),
        "layer",
        "error",
        "the deployment has no parameter /resonate/market/layer",
        "deploy the stack again",
    ),
    "function with an old layer": Plant(
        _newer_layer,
        "layer",
        "warning",
        "market-worker does not have the newest layer",
        "deploy the stack of this function again",
    ),
    "stream that is not read": Plant(
        _without_mapping,
        "dispatcher",
        "error",
        "market-dispatch does not read the stream arn:aws:dynamodb",
        "ExistingTableStream",
    ),
    "event source that is off": Plant(
        _disabled_mapping, "dispatcher", "error", "is Disabled", "aws lambda update-event-source-mapping --uuid"
    ),
    "function with another delivery": Plant(
        lambda account: account.variables("dispatch", RESONATE_DELIVERY="stream"),
        "delivery",
        "warning",
        "market-dispatch has Delivery=stream, and the deployment writer",
    ),
    "program with another delivery": Plant(
        lambda account: account.parameter("market/delivery", "stream"),
        "delivery",
        "warning",
        "the deployment delivers by stream, and this program by itself",
        "set RESONATE_DELIVERY=stream",
    ),
    "no bucket": Plant(
        lambda _account: None,
        "bucket",
        "warning",
        "RESONATE_BUCKET is not set",
        "export RESONATE_BUCKET=market-payloadbucket",
        {"RESONATE_BUCKET": None},
    ),
    "another bucket": Plant(
        lambda _account: None,
        "bucket",
        "error",
        "RESONATE_BUCKET is other, and the deployment has market",
        "",
        {"RESONATE_BUCKET": "other"},
    ),
    "no permission to read": Plant(
        lambda account: account.refuses("dynamodb", "GetItem", "AccessDeniedException"),
        "permissions",
        "error",
        "the credentials do not permit dynamodb:GetItem",
        "grant it on the table market-PromiseTable",
    ),
    "no permission to write": Plant(
        lambda account: account.refuses("dynamodb", "PutItem", "AccessDeniedException"),
        "permissions",
        "error",
        "the credentials do not permit dynamodb:PutItem",
    ),
    "no permission to query": Plant(
        lambda account: account.refuses("dynamodb", "Query", "AccessDeniedException"),
        "permissions",
        "error",
        "the credentials do not permit dynamodb:Query",
    ),
    "no permission to update": Plant(
        lambda account: account.refuses("dynamodb", "UpdateItem", "AccessDeniedException"),
        "permissions",
        "error",
        "the credentials do not permit dynamodb:UpdateItem",
    ),
    "no permission for large values": Plant(
        lambda account: account.refuses("s3", "GetObject", "AccessDenied"),
        "permissions",
        "error",
        "the credentials do not permit s3:GetObject and s3:ListBucket",
        "grant them on the bucket market-payloadbucket",
    ),
    "no permission to invoke": Plant(
        _denied_invocation,
        "permissions",
        "warning",
        "do not permit lambda:InvokeFunction on market-worker",
        "to save the way through dispatch",
    ),
    "no permission to look": Plant(
        lambda account: account.refuses("ssm", "GetParametersByPath", "AccessDeniedException"),
        "stack",
        "warning",
        "not checked: An error occurred (AccessDeniedException)",
        "grant the permission",
    ),
    "throttled call": Plant(
        lambda account: account.refuses("dynamodb", "DescribeContinuousBackups", "InternalServerError"),
        "backups",
        "error",
        "InternalServerError",
    ),
    "expired credentials": Plant(
        lambda account: account.refuses("sts", "GetCallerIdentity", "ExpiredToken"),
        "credentials",
        "error",
        "ExpiredToken",
        "aws sso login",
    ),
}


ALONE = ("table", "keys", "stack", "credentials")
"""Checks that further checks need."""
LATER = {"stream": 2}
"""Checks whose faults are in later rounds, because a check of the first rounds needs them."""


def rounds() -> list[list[str]]:
    """Return the faults in groups that can be planted together: one of each check, and some faults alone."""
    alone = [[name] for name, plant in PLANTS.items() if plant.check in ALONE]
    together: dict[int, list[str]] = {}
    counts: Counter[str] = Counter(LATER)
    for name, plant in PLANTS.items():
        if plant.check not in ALONE:
            together.setdefault(counts[plant.check], []).append(name)
            counts[plant.check] += 1
    return [*together.values(), *alone]


@pytest.mark.parametrize("names", rounds(), ids=", ".join)
def test_planted_faults_are_found_with_their_way_out(account: Account, names: list[str]) -> None:
    environment: dict[str, str | None] = {"RESONATE_TABLE": account.table, "RESONATE_BUCKET": account.deployment.bucket}
    for name in names:
        PLANTS[name].plant(account)
        environment.update(PLANTS[name].environment)
    ran = CommandLine(**environment).run("doctor", "--json")
    found = findings(ran)

    for name in names:
        plant = PLANTS[name]
        assert any(
            (each["level"], plant.text in each["text"], plant.way in each["way"]) == (plant.level, True, True)
            for each in found.get(plant.check, [])
        ), (name, found)
    levels = {each["level"] for all in found.values() for each in all}
    assert ran.code == ("error" in levels)
    assert all(each["way"] for all in found.values() for each in all if each["level"] != "skipped")
    concerned = {check for check, (first, *_) in found.items() if first["level"] != "skipped"}
    expected = {PLANTS[name].check for name in names}
    # A service that refuses the credentials here sends no date.
    assert concerned == expected | ({"clock"} if "credentials" in expected else set()), found


SKEWS = [
    (0, "ok", "within 5 s"),
    (4, "ok", "within 5 s"),
    (-7, "warning", "this machine's clock is 6.0 s ahead of that of AWS: deadlines and leases are wrong"),
    (60, "warning", "this machine's clock is 60.0 s behind that of AWS"),
    (301, "error", "AWS refuses signatures from 5 minutes on"),
]


@in_ci
@pytest.mark.parametrize("refused", [False, True])
def test_skewed_clock_is_found_by_the_date_of_aws(account: Account, refused: bool, subtests: pytest.Subtests) -> None:
    clock = ManualClock()
    error = {"Error": {"Code": "SignatureDoesNotMatch", "Message": "Signature expired"}} if refused else {}
    status = 403 if refused else 200
    for skew_s, level, text in SKEWS:
        date = {"date": formatdate(clock.now() / 1000 + skew_s, usegmt=True)}
        answer = {"Arn": "arn", **error, "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": date}}
        account.answers("sts", "GetCallerIdentity", partial(dict, answer), status)
        with subtests.test(skew_s=skew_s), installed(clock):
            ran = account.command_line.run("doctor", "--json")
            (found,) = (each for each in json.loads(ran.out)["findings"] if each["check"] == "clock")
            assert (found["level"], text in found["text"]) == (level, True), found
            assert bool(found["way"]) == (level != "ok")


def test_account_without_region_or_credentials_skips_the_rest(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setattr("botocore.credentials.CredentialResolver.load_credentials", lambda _self: None)
    boto3.setup_default_session(region_name="us-east-1")
    found = findings(account.command_line.run("doctor", "--json"))
    assert found["credentials"][0]["text"] == "Unable to locate credentials"
    assert [each[0]["level"] for check, each in found.items() if check != "credentials"].count("skipped") == len(
        found
    ) - 2

    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    found = findings(account.command_line.run("doctor", "--json"))
    assert (found["region"][0]["text"], found["credentials"][0]["text"]) == ("no region is set", "needs region")


def test_given_stack_is_checked_against_the_table(account: Account) -> None:
    account.parameter("bazaar/table", "other")
    for stack, text in {
        "bazaar": "the stack bazaar has the table other, not market-PromiseTable",
        "nothing": "the stack nothing has no parameters under /resonate/nothing/",
    }.items():
        ran = account.command_line.run("doctor", "--stack", stack, "--json")
        assert (ran.code, findings(ran)["stack"][0]["text"]) == (1, text)
    account.parameter("bazaar/table", account.table)
    assert findings(account.command_line.run("doctor", "--stack", "market", "--json")) == {}


def test_defects_of_this_machine_are_found(account: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    metadata = tmp_path / "resonate_other-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: resonate-other\nVersion: 1.0\n")
    (metadata / "top_level.txt").write_text("resonate\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    versions = {"msgspec": "0.1.0"}
    original = importlib.metadata.version

    def version(name: str) -> str:
        if name == "croniter":
            raise importlib.metadata.PackageNotFoundError(name)
        return versions.get(name) or original(name)

    monkeypatch.setattr("resonate_infra.cli.doctor.local.version", version)
    monkeypatch.setattr(sys, "version_info", (3, 99, 0, "final", 0))
    found = findings(account.command_line.run("doctor", "--json"))

    assert found["python"][0]["text"] == "3.99 is not tested"
    assert [(each["level"], each["text"].split(" is ")[0]) for each in found["packages"]] == [
        ("error", "croniter"),
        ("warning", "msgspec 0.1.0"),
    ]
    assert found["distributions"][0]["text"].startswith("resonate-other has a package `resonate` too")
    assert found["distributions"][0]["way"] == "pip uninstall resonate-other"


def test_official_sdk_is_found_by_its_metadata(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    metadata = tmp_path / "resonate_sdk-0.6.7.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: resonate-sdk\nVersion: 0.6.7\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = findings(CommandLine().run("doctor", "--json", "--url", "http://localhost:1"))

    assert found["distributions"][0]["way"].startswith("pip uninstall resonate-sdk, then ")
    assert found["server"][0]["way"] == "start the server, or correct --url"
    assert (found["kinds"][0]["level"], found["clock"][0]["level"]) == ("skipped", "skipped")


def test_signed_server_needs_boto3_and_credentials(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    api = CommandLine(RESONATE_URL="https://a1b2c3d4e5.execute-api.us-east-1.amazonaws.com/v1")
    account.refuses("sts", "GetCallerIdentity", "ExpiredToken")
    found = findings(api.run("doctor", "--json"))
    assert ("ExpiredToken" in found["credentials"][0]["text"], found["server"][0]["text"]) == (
        True,
        "needs credentials",
    )

    monkeypatch.setitem(sys.modules, "boto3", None)
    found = findings(api.run("doctor", "--json"))
    assert found["region"][0]["text"].startswith("boto3 is not installed")
    assert found["credentials"][0]["level"] == found["server"][0]["level"] == "skipped"


@contextmanager
def serving(clock: Any = None, **options: Any) -> Iterator[str]:
    with Server(ServerOptions(port=0, **options), clock).running() as server:
        yield server.url


def test_healthy_server_has_no_finding() -> None:
    with serving() as url:
        ran = CommandLine(RESONATE_URL=url).run("doctor")
    assert (ran.code, [line.split()[0] for line in ran.out.splitlines()]) == (0, ["ok"] * len(checks.OF_SERVER))
    assert f"server: {url} answers requests without a token" in ran.out


def test_refused_token_is_found_and_not_shown(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text(public("rsa"))
    with serving(auth_key=str(key)) as url:
        given = token(kind="other")
        without = findings(CommandLine(RESONATE_URL=url).run("doctor", "--json"))
        ran = CommandLine(RESONATE_URL=url, RESONATE_TOKEN=given).run("doctor", "--json")
        accepted = CommandLine(RESONATE_URL=url, RESONATE_TOKEN=token(exp=2**40)).run("doctor", "--json")

    assert "refuses requests without a token" in without["server"][0]["text"]
    assert "refuses requests with the token" in findings(ran)["server"][0]["text"]
    assert given not in ran.out
    assert (accepted.code, findings(accepted)) == (0, {}), accepted


class Ahead:
    """Clock that is ahead of the system's."""

    def now(self) -> int:
        return ambient().now() + 60_000

    def sleep(self, milliseconds: int) -> None:
        ambient().sleep(milliseconds)


def test_skewed_clock_of_a_server_is_found() -> None:
    with serving(Ahead()) as url:
        found = findings(CommandLine(RESONATE_URL=url).run("doctor", "--json"))
    assert found["clock"][0]["text"].startswith("this machine's clock is ")
    assert "s behind that of the server" in found["clock"][0]["text"]


def test_server_of_another_release_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as url:
        monkeypatch.setattr("resonate_infra.cli.doctor.server.OWN_KINDS", ("execution.new",))
        newer = findings(CommandLine(RESONATE_URL=url).run("doctor", "--json"))
        monkeypatch.setattr("resonate_store.protocol.service.KINDS", "other")
        official = findings(CommandLine(RESONATE_URL=url).run("doctor", "--json"))
    assert newer["kinds"][0]["text"] == "the server does not know execution.new"
    assert official["kinds"][0]["text"].startswith("the server has only the official protocol")


def test_layer_names_the_release_of_the_project() -> None:
    template = (ROOT / "template.yaml").read_text()
    assert f"Description: resonate-serverless {importlib.metadata.version('resonate-serverless')} and" in template
