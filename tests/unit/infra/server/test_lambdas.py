"""Lambda functions in the server's process."""

from __future__ import annotations

import logging
import os
import sys
import textwrap
from pathlib import Path

import pytest

from resonate_infra.server.lambdas import MAX_INVOCATIONS, LambdaError, Lambdas, Mapped, mapped
from resonate_store.model.clock import ManualClock
from tests.support.build import execute
from tests.support.server_api import PATIENCE
from tests.support.worker_code.noting import RECEIVED

MESSAGE = execute("w", 0)[1]
HERE = "tests.support.worker_code.noting"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESONATE_URL", "unset")
    monkeypatch.setenv("RESONATE_TABLE", "unset")
    monkeypatch.setattr(sys, "path", list(sys.path))


def loaded(*texts: str, timeout: float = 60.0) -> Lambdas:
    lambdas = Lambdas({(found := mapped(text)).name: found for text in texts}, ManualClock(), timeout)
    lambdas.load("http://localhost:8001")
    return lambdas


def test_mapping_names_a_group_a_module_and_a_handler(subtests: pytest.Subtests) -> None:
    worker = Mapped("worker", "functions.worker.app", "handler")
    assert mapped("worker=functions.worker.app:handler") == worker
    assert mapped("my-worker_2=app:h") == Mapped("my-worker_2", "app", "h")
    for text in ("", "worker", "worker=", "worker=app", "worker=app:", "worker=:h", "=app:h"):
        with subtests.test(text), pytest.raises(LambdaError, match=r"write worker=package\.module:handler"):
            mapped(text)
    with pytest.raises(LambdaError, match=r"'my worker' in .* is no name for a Lambda function"):
        mapped("my worker=app:h")


def test_function_is_called_with_the_message_and_a_context() -> None:
    lambdas = loaded(f"worker={HERE}:handler", timeout=30)
    assert "worker" in lambdas
    assert "other" not in lambdas
    lambdas.invoke("worker", MESSAGE)

    event, context, thread = RECEIVED.get(timeout=PATIENCE)
    assert event == MESSAGE
    assert thread.startswith("resonate-lambda")
    assert context.function_name == "worker"
    assert context.get_remaining_time_in_millis() == 30_000
    assert context.invoked_function_arn.endswith(":function:worker")
    assert len(context.aws_request_id) == 32
    assert lambdas.close(PATIENCE)


def test_invocation_before_the_import_waits_for_it() -> None:
    lambdas = Lambdas({"worker": mapped(f"worker={HERE}:handler")}, ManualClock(), 60.0)
    lambdas.invoke("worker", MESSAGE)
    assert RECEIVED.empty()
    lambdas.load("http://localhost:8001")

    assert RECEIVED.get(timeout=PATIENCE)[0] == MESSAGE
    assert lambdas.close(PATIENCE)


def test_module_of_the_working_directory_sees_the_server_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_worker_module.py").write_text(
        textwrap.dedent("""
            import os
            URL, TABLE = os.environ["RESONATE_URL"], os.environ.get("RESONATE_TABLE")
            def handler(event, context): pass
        """)
    )
    monkeypatch.chdir(tmp_path)
    assert loaded("worker=my_worker_module:handler").close(PATIENCE)

    module = sys.modules.pop("my_worker_module")
    assert (module.URL, module.TABLE) == ("http://localhost:8001", None)


def test_server_without_functions_does_not_change_the_environment() -> None:
    assert loaded().close(PATIENCE)
    assert os.environ["RESONATE_URL"] == "unset"


def test_unusable_handler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests) -> None:
    (tmp_path / "exits_with_3.py").write_text("import sys\nsys.exit(3)\n")
    (tmp_path / "exits.py").write_text("import sys\nsys.exit()\n")
    monkeypatch.syspath_prepend(tmp_path)
    for handler, why in (
        ("no.such.module:handler", "importing no.such.module failed: ModuleNotFoundError.*"),
        (f"{HERE}:nothing", f"{HERE} has no nothing.*"),
        (f"{HERE}:no_handler", "it is a int, not a handler.*"),
        ("exits_with_3:handler", "importing exits_with_3 failed: SystemExit: 3"),
        ("exits:handler", "importing exits failed: SystemExit"),
    ):
        with subtests.test(handler):
            lambdas = Lambdas({"worker": mapped(f"worker={handler}")}, ManualClock(), 60.0)
            lambdas.invoke("worker", MESSAGE)
            with pytest.raises(LambdaError, match=f"^--lambda worker={handler}: {why}$"):
                lambdas.load("http://localhost:8001")
            assert lambdas.close(PATIENCE)


def test_failing_function_is_logged_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    lambdas = loaded(f"worker={HERE}:handler")
    caplog.set_level(logging.INFO)
    for id in ("broken", "whole"):
        lambdas.invoke("worker", execute(id, 0)[1])
        RECEIVED.get(timeout=PATIENCE)

    assert lambdas.close(PATIENCE)
    assert [record.message for record in caplog.records] == ["function worker failed: RuntimeError: it broke"]


def test_exiting_functions_are_logged_and_free_their_threads(caplog: pytest.LogCaptureFixture) -> None:
    lambdas = loaded(f"worker={HERE}:handler")
    caplog.set_level(logging.INFO)
    ids = [*(f"exit-{n}" for n in range(MAX_INVOCATIONS)), "whole"]
    for id in ids:
        lambdas.invoke("worker", execute(id, 0)[1])
    events = [RECEIVED.get(timeout=PATIENCE)[0] for _ in ids]

    assert {event["data"]["task"]["id"] for event in events} == set(ids)
    assert lambdas.close(PATIENCE)
    assert [record.message for record in caplog.records] == ["function worker failed: SystemExit: 3"] * MAX_INVOCATIONS


def test_function_describes_what_it_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # A module of its own: its client keeps the store of this test's environment.
    (tmp_path / "describing_module.py").write_text(
        textwrap.dedent("""
            from resonate import Resonate
            resonate = Resonate(group="worker")
            @resonate.register
            def order(ctx, amount): return amount
            handler = resonate.handler()
        """)
    )
    monkeypatch.chdir(tmp_path)
    functions = loaded("worker=describing_module:handler", "other=json:dumps", "mute=json:JSONEncoder")
    described = functions.describe("worker")
    assert described is not None
    assert [each["name"] for each in described] == ["order"]
    assert [functions.describe(name) for name in ("other", "mute", "nobody")] == [None, None, None]
    assert caplog.records == []
