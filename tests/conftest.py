import gc
import os
import signal
import sys
from collections.abc import Generator

import pytest
from hypothesis import settings

# Without their bytecode, each of some hundred processes that tests start would compile the sources again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Two runs of the same sources see the same examples. `--hypothesis-profile=default` looks further afield.
settings.register_profile("ci", derandomize=True, print_blob=True, deadline=None)
settings.load_profile("ci")


def pytest_configure() -> None:
    """A suite in the background ignores SIGINT, and what it starts would ignore it, too."""
    for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, default)


def pytest_collection_finish() -> None:
    """Have the garbage collector leave out what has been imported and collected, and look less often: it takes 10 %."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not hasattr(report, "wasxfail"):
        _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _forbid_skip(report)
    return report


def _forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """A machine that should have everything must not pass by leaving tests out."""
    if "RESONATE_CI" not in os.environ or report.outcome != "skipped":
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid} must not be skipped here: {reason}"
