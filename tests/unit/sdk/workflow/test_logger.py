"""The logger of a context."""

from __future__ import annotations

import logging

import pytest

from resonate import Context, Resonate
from tests.support.driver import Driver
from tests.support.steps import runs
from tests.support.ways import three_ways


@three_ways
def test_context_logger_names_root_and_promise(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "resonate")

    driver.run("w", runs(lambda ctx: ctx.logger.info("hello %s", "world")))
    (record,) = [each for each in caplog.records if each.getMessage() == "hello world"]
    assert (record.name, record.levelname) == ("resonate:w:w.1", "INFO")
    assert (vars(record)["root_id"], vars(record)["id"]) == ("w", "w.1")


def test_context_logger_writes_to_stderr_at_the_clients_level(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    level = logging.getLogger("resonate").level

    def talks(ctx: Context) -> None:
        ctx.logger.debug("hidden")
        ctx.logger.info("shown")

    try:
        resonate = Resonate.local(log_level="INFO")
        resonate.register(talks)
        resonate.run("w", talks)
        resonate.stop()
    finally:
        logging.getLogger("resonate").setLevel(level)
    assert capsys.readouterr().err.rstrip().endswith("] [INFO] [w] [w] shown")
