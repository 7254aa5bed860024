"""Modules that are imported anew."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resonate_infra.server.reloading.modules import anew, roots_of


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Path]]:
    """Return what writes a module of a program in the current directory."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_modules_below_the_root_are_imported_anew(program: Callable[[str, str], Path], tmp_path: Path) -> None:
    program("reloaded/steps.py", "VALUE = 1")
    program("reloaded_app.py", "import json\nfrom reloaded import steps\nVALUE = steps.VALUE")
    first = importlib.import_module("reloaded_app")
    program("reloaded/steps.py", "VALUE = 2")
    with anew([tmp_path]):
        second = importlib.import_module("reloaded_app")

    assert (first.VALUE, second.VALUE) == (1, 2)
    assert second.json is json


def test_failed_import_puts_the_former_modules_back(program: Callable[[str, str], Path], tmp_path: Path) -> None:
    program("reloaded/steps.py", "VALUE = 1")
    program("reloaded/app.py", "from reloaded import steps")
    former = importlib.import_module("reloaded.app")
    program("reloaded/other.py", "VALUE = 2")
    program("reloaded/app.py", "from reloaded import other, steps\n1 / 0")
    with pytest.raises(ZeroDivisionError), anew([tmp_path]):
        importlib.import_module("reloaded.app")

    assert sys.modules["reloaded.app"] is former
    assert sys.modules["reloaded.steps"] is former.steps
    assert "reloaded.other" not in sys.modules


def test_installed_modules_and_ours_stay(program: Callable[[str, str], Path], tmp_path: Path) -> None:
    program(".venv/lib/python3.11/site-packages/reloaded_library.py", "VALUE = 1")
    sys.path.insert(0, str(tmp_path / ".venv/lib/python3.11/site-packages"))
    library = importlib.import_module("reloaded_library")
    own, json_before = sys.modules["resonate_infra.server.reloading.modules"], sys.modules["json"]
    try:
        with anew([Path("/")]):
            assert sys.modules["reloaded_library"] is library
            assert sys.modules["resonate_infra.server.reloading.modules"] is own
            assert sys.modules["json"] is json_before
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        sys.path.remove(str(tmp_path / ".venv/lib/python3.11/site-packages"))


def test_roots_are_the_directories_of_the_sources(
    program: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    program("elsewhere/reloaded_pack/__init__.py", "")
    program("elsewhere/reloaded_mod.py", "")
    program("here/reloaded_app.py", "1 / 0")
    monkeypatch.chdir(tmp_path / "here")
    for path in (elsewhere, tmp_path / "here"):
        monkeypatch.syspath_prepend(path)
    here = tmp_path / "here"

    assert roots_of(["reloaded_app", "json.decoder", "pytest", "no_such", "__main__"]) == (here,)
    assert roots_of(["reloaded_app", "reloaded_pack.app"]) == (here, elsewhere / "reloaded_pack")
    assert roots_of(["reloaded_mod", "reloaded_pack"]) == (here, elsewhere)
    assert "reloaded_app" not in sys.modules
