import gc
import os
import signal
import sys
from collections.abc import Generator

import pytest
from _pytest.unraisableexception import gc_collect_iterations_key
from hypothesis import settings

from tests.support.hypothesis_settings import examples

# Without their bytecode, each of some hundred processes that tests start would compile the sources again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Each pytest that a test starts would load the plugin of schemathesis, which takes a second.
os.environ["PYTEST_ADDOPTS"] = f"{os.environ.get('PYTEST_ADDOPTS', '')} -p no:schemathesis".strip()

# Two runs of the same sources see the same examples. `--hypothesis-profile=default` looks further afield.
settings.register_profile("ci", max_examples=examples(30, in_ci=100), derandomize=True, print_blob=True, deadline=None)
settings.load_profile("ci")


def pytest_configure(config: pytest.Config) -> None:
    """A suite in the background ignores SIGINT, and what it starts would ignore it, too."""
    # At its end, pytest collects garbage five times because of PyPy. Each collection takes seconds after all tests.
    config.stash[gc_collect_iterations_key] = 1
    for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, default)


def pytest_collection_finish() -> None:
    """Have the garbage collector leave out what has been imported and collected, and look less often: it takes 10 %."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


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
