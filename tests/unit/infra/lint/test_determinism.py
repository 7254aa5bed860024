"""Rules for what differs at each run: each name, and what messages say."""

from __future__ import annotations

from pathlib import Path

import pytest

from resonate_infra.lint.checking import check
from resonate_infra.lint.rules import RULES

NAMES = {
    "RS001": "time.time time.time_ns time.monotonic time.perf_counter time.process_time datetime.datetime.now"
    " datetime.datetime.utcnow datetime.datetime.today datetime.date.today time.localtime time.gmtime time.ctime"
    " pendulum.now arrow.utcnow django.utils.timezone.now",
    "RS002": "random.random random.seed random.shuffle random.Random random.SystemRandom"
    " secrets.token_urlsafe os.urandom numpy.random.rand numpy.random.default_rng",
    "RS003": "uuid.uuid1 uuid.uuid4 uuid.uuid7",
    "RS004": "builtins.open builtins.input os.remove os.listdir os.system os.path.exists glob.glob shutil.move"
    " subprocess.run subprocess.Popen socket.socket socket.create_connection requests.get requests.Session httpx.post"
    " httpx.Client aiohttp.ClientSession urllib.request.urlopen urllib3.PoolManager boto3.client boto3.resource"
    " smtplib.SMTP sqlite3.connect psycopg.connect redis.Redis tempfile.mkdtemp http.client.HTTPSConnection",
    "RS005": "time.sleep asyncio.sleep trio.sleep anyio.sleep gevent.sleep",
    "RS006": "threading.Thread threading.Timer concurrent.futures.ThreadPoolExecutor multiprocessing.Pool"
    " asyncio.create_task asyncio.gather asyncio.wait_for asyncio.TaskGroup asyncio.to_thread asyncio.run"
    " trio.open_nursery",
    "RS007": "os.getenv os.getpid os.getcwd os.cpu_count socket.gethostname platform.node getpass.getuser",
}
CASES = [(code, name) for code, names in NAMES.items() for name in names.split()]


def found(tmp_path: Path, body: str, header: str = "") -> list[tuple[str, str]]:
    program = tmp_path / "program.py"
    program.write_text(f"{header}\ndef flow(ctx):\n    {body}\n    yield ctx.sleep(1)\n")
    return [(each.code, each.message) for each in check([program], frozenset(RULES)).findings]


@pytest.mark.parametrize(("code", "name"), CASES, ids=lambda value: value)
def test_call_is_found_under_its_code_by_each_import(code: str, name: str, tmp_path: Path) -> None:
    module, _, last = name.rpartition(".")
    top = module.split(".")[0]
    for header, call in (
        (f"import {top if module.startswith('datetime') else module}", name),
        (f"from {module} import {last} as x", "x"),
    ):
        if (module != "datetime.datetime" and module != "datetime.date") or call == name:
            ((rule, message),) = found(tmp_path, f"a = {call}()", header)
            assert rule == code
            assert f"`{name.removeprefix('builtins.')}` in the workflow `flow`" in message


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("import time", "a = time.gmtime(3), time.ctime(3), time.strftime('%H', time.gmtime(3)), time.mktime(b)"),
        ("import time", "a = time.struct_time(b), time.timezone"),
        ("import random", "a = random.Random(7)"),
        ("import numpy.random", "a = numpy.random.default_rng(seed=7)"),
        ("import os", "a = os.path.join('a', 'b'), os.sep, os.fspath(b)"),
        ("import uuid", "a = uuid.uuid5(b, 'c'), uuid.UUID('d')"),
        ("import asyncio", "a = asyncio.CancelledError"),
        ("import socket", "a = socket.AF_INET"),
        ("import boto3", "a = boto3.dynamodb.conditions.Key('a')"),
        ("from pathlib import Path", "a = Path('a').with_suffix('.b').name"),
        ("", "a = other.exists(), other.open(), other.get('a')"),
        ("", "print(input_of)"),
    ],
)
def test_call_that_repeats_its_value_is_not_found(header: str, body: str, tmp_path: Path) -> None:
    assert found(tmp_path, body, header) == []


@pytest.mark.parametrize(
    ("header", "body", "subject"),
    [
        ("from pathlib import Path", "Path('a').exists()", "`exists`"),
        ("from pathlib import Path\npath = Path('a')", "path.unlink()", "`path.unlink`"),
        ("", "unknown.read_text()", "`unknown.read_text`"),
        ("import boto3\ns3 = boto3.client('s3')", "s3.get_object(Key='a')", "`s3.get_object`"),
        ("import boto3\ntable = boto3.resource('dynamodb').Table('a')", "table.scan()", "`table.scan`"),
    ],
)
def test_method_of_a_known_object_is_input_or_output(header: str, body: str, subject: str, tmp_path: Path) -> None:
    text = f"{subject} in the workflow `flow` is repeated by each replay: move it into a step, and call that by"

    assert found(tmp_path, body, header) == [("RS004", f"{text} `yield ctx.run(...)`")]


def test_executor_of_an_event_loop_is_concurrency(tmp_path: Path) -> None:
    assert [code for code, _ in found(tmp_path, "loop.run_in_executor(None, f)")] == ["RS006"]


@pytest.mark.parametrize("use", ["os.environ['A']", "os.environ.get('A')", "'A' in os.environ", "dict(os.environ)"])
def test_use_of_the_environment_is_found_once(use: str, tmp_path: Path) -> None:
    ((code, message),) = found(tmp_path, f"a = {use}", "import os")

    assert code == "RS007"
    assert message.startswith("`os.environ` in the workflow `flow` depends on the process that replays it: ")
    assert message.endswith("read it in a step (`yield ctx.run(...)`), or pass it as an argument")


def test_message_of_an_async_workflow_says_await(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import time\nasync def flow(ctx):\n    await ctx.run(f, time.time())\n")

    (finding,) = check([program], frozenset(RULES)).findings

    assert finding.message == (
        "`time.time` in the workflow `flow` gives another time at each replay: write `await ctx.time.time()`,"
        " or read the clock in a step"
    )
