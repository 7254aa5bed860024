"""Two distributions that are imported as `resonate`."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import resonate
from resonate_infra.distributions import conflict, version_of
from resonate_infra.testing.plugin import pytest_load_initial_conftests
from tests.support.command_line import CommandLine


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the metadata of the official SDK."""
    metadata = tmp_path / "resonate_sdk-0.6.7.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: resonate-sdk\nVersion: 0.6.7\n")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_conflict_is_none_with_one_distribution() -> None:
    assert conflict() is None


@pytest.mark.usefixtures("official")
def test_conflict_is_a_warning_of_command_line_and_plugin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"warning: {conflict()}"
    assert line.startswith("warning: resonate-sdk 0.6.7 and resonate-serverless ")

    assert CommandLine().run("promises", "get", "x", "--url", "http://localhost:1").err.splitlines()[0] == line
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytest_load_initial_conftests()
    assert capsys.readouterr().err.splitlines() == [line]


def test_version_is_that_of_the_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [version_of(name) for name in ("resonate-serverless", "msgspec", "resonate-sdk")] == [
        version("resonate-serverless"),
        version("msgspec"),
        None,
    ]
    monkeypatch.setattr(sys, "path", [str(tmp_path / "missing.zip"), *sys.path])
    assert CommandLine().ok("--version").out == f"resonate {version('resonate-serverless')}\n"


def test_version_of_the_package_is_read_lazily() -> None:
    assert resonate.__version__ == version("resonate-serverless")
    with pytest.raises(AttributeError, match="module 'resonate' has no attribute 'nothing'"):
        _ = resonate.nothing  # type: ignore[attr-defined]
    script = "import sys, resonate; sys.exit('importlib.metadata' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path = {sys.path!r}; {script}"]).returncode == 0
    )
