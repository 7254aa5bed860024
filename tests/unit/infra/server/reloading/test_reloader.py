"""Reloader, with a watch that the test drives. `tests/unit/infra/server/test_process.py` has the real one."""

from __future__ import annotations

import logging
import queue
import re
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from logging.handlers import QueueHandler
from pathlib import Path
from typing import Any

import pytest

from resonate_infra.server.lambdas import LambdaError, Lambdas, mapped
from resonate_infra.server.reloading.reloader import Reloader
from resonate_store.model.clock import ManualClock
from tests.support.build import execute
from tests.support.server_api import PATIENCE


class Scene:
    """Server functions in a directory, and the watch of their sources.

    Attributes:
        lambdas: the functions, of one handler.
        reloader: what imports them anew.
        roots: the directories that are watched.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.roots: Sequence[Path] = ()
        self._saves: queue.SimpleQueue[set[str] | Exception] = queue.SimpleQueue()
        self._taken = threading.Semaphore(0)
        self.lambdas = Lambdas({"worker": mapped("worker=watched_app:handler")}, ManualClock(), 60.0, reloads=True)
        self.reloader = Reloader(self.lambdas, self._watch)

    def _watch(self, roots: Sequence[Path], stopping: threading.Event) -> Iterator[set[str]]:
        self.roots = roots
        yield set()
        while not stopping.is_set():
            item = self._saves.get()
            if isinstance(item, Exception):
                raise item
            yield item
            self._taken.release()

    def write(self, text: str) -> None:
        new = self.directory / "watched_app.new"
        new.write_text(textwrap.dedent(text))
        new.replace(self.directory / "watched_app.py")  # A watch must not see half of it.

    def save(self, text: str, *others: str) -> None:
        """Write the handler anew, and wait until the reloader has seen it."""
        self.write(text)
        self._saves.put({str(self.directory / name) for name in ("watched_app.py", *others)})
        assert self._taken.acquire(timeout=PATIENCE)

    def break_watch(self, error: Exception) -> None:
        self._saves.put(error)

    def stop(self) -> None:
        self.reloader.close(0)
        self._saves.put(set())
        self.reloader.close(PATIENCE)
        assert self.lambdas.close(PATIENCE)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv("RESONATE_URL", "unset")
    monkeypatch.setenv("RESONATE_TABLE", "unset")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)
    scene = Scene(tmp_path)
    yield scene
    scene.stop()
    sys.modules.pop("watched_app", None)


NOTES: queue.SimpleQueue[Any] = queue.SimpleQueue()
"""What the handlers note: their version, and the id of the task."""
GATE = threading.Event()
"""What the handler `SLOW` waits for."""
QUICK = """
    import sys
    notes = sys.modules["{module}"].NOTES
    def handler(event, context):
        notes.put(({version}, event["data"]["task"]["id"]))
"""
SLOW = """
    import sys
    scene = sys.modules["{module}"]
    def handler(event, context):
        scene.NOTES.put("begun")
        assert scene.GATE.wait(10)
        scene.NOTES.put(({version}, event["data"]["task"]["id"]))
"""


def code(version: int, text: str = QUICK) -> str:
    return text.format(module=__name__, version=version)


def invoke(scene: Scene, id: str) -> None:
    scene.lambdas.invoke("worker", execute(id, 0)[1])


def begin(scene: Scene) -> None:
    scene.reloader.start()
    try:
        scene.lambdas.load("http://localhost:8001")
    except LambdaError as error:
        scene.reloader.failed(error)


def test_saved_handler_runs_the_next_invocation(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    scene.write(code(1))
    begin(scene)
    invoke(scene, "a")
    assert NOTES.get(timeout=PATIENCE) == (1, "a")
    scene.save(code(2))
    invoke(scene, "b")
    assert NOTES.get(timeout=PATIENCE) == (2, "b")
    scene.save(code(3), "steps.py", "more.py")

    assert scene.roots == (scene.directory,)
    assert [record.message for record in caplog.records] == [
        "reloaded worker after a change of watched_app.py",
        "reloaded worker after a change of more.py and 2 more",
    ]


def test_invocation_under_way_finishes_with_the_former_code(scene: Scene) -> None:
    GATE.clear()
    scene.write(code(1, SLOW))
    begin(scene)
    invoke(scene, "a")
    assert NOTES.get(timeout=PATIENCE) == "begun"
    scene.save(code(2))
    invoke(scene, "b")
    assert NOTES.get(timeout=PATIENCE) == (2, "b")
    GATE.set()

    assert NOTES.get(timeout=PATIENCE) == (1, "a")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("def handler(:", r"SyntaxError: invalid syntax \(watched_app.py, line 1\)"),
        ("\nnothing", r"NameError: name 'nothing' is not defined \(watched_app.py, line 2\)"),
        ("import no_such_module", r"ModuleNotFoundError: No module named 'no_such_module' \(watched_app.py, line 1\)"),
    ],
    ids=["syntax", "name", "module"],
)
def test_former_code_runs_until_a_save_that_imports(
    scene: Scene, caplog: pytest.LogCaptureFixture, text: str, why: str
) -> None:
    scene.write(code(1))
    begin(scene)
    scene.save(text)
    invoke(scene, "a")
    assert NOTES.get(timeout=PATIENCE) == (1, "a")
    scene.save(code(2))
    invoke(scene, "b")
    assert NOTES.get(timeout=PATIENCE) == (2, "b")

    [line] = [record.message for record in caplog.records]
    start = "--lambda worker=watched_app:handler: importing watched_app failed: "
    pattern = rf"{start}{why}; the former code runs until the next save"
    assert re.fullmatch(pattern, line), line


def test_invocation_waits_for_the_first_code_that_imports(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.write("def handler(:")
    begin(scene)
    invoke(scene, "a")
    scene.save("def handler(")
    assert NOTES.empty()
    scene.save(code(3))

    assert NOTES.get(timeout=PATIENCE) == (3, "a")
    assert all(record.message.endswith("; its tasks wait for the next save") for record in caplog.records)
    assert len(caplog.records) == 2


def test_waiting_invocation_ends_when_the_server_stops(scene: Scene) -> None:
    scene.write("def handler(:")
    begin(scene)
    invoke(scene, "a")

    assert scene.lambdas.close(PATIENCE)
    assert NOTES.empty()


def test_broken_watch_is_logged_and_the_code_stays(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.write(code(1))
    begin(scene)
    scene.break_watch(OSError("too many files are watched"))
    scene.reloader.close(PATIENCE)
    invoke(scene, "a")

    assert NOTES.get(timeout=PATIENCE) == (1, "a")
    assert [each.message for each in caplog.records] == ["sources are not watched any more: too many files are watched"]


WORKER = """
    import resonate as library
    resonate = library.Resonate.local()
    handler = resonate.handler()
"""


def test_replaced_handler_is_closed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[object] = []
    monkeypatch.setattr("resonate.aws_lambda.handler.LambdaHandler.close", lambda self: closed.append(self))
    scene.write(WORKER)
    begin(scene)
    assert scene.lambdas.describe("worker") == []
    first = sys.modules["watched_app"].handler
    scene.save("1 / 0")
    assert closed == []
    scene.save(WORKER)

    assert closed == [first]


def test_watch_leaves_out_packages_and_other_files(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch is that of watchfiles, so this test waits for the file system."""
    said: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    logger = logging.getLogger("resonate.server")
    monkeypatch.setattr(logger, "handlers", [QueueHandler(said)])
    monkeypatch.setattr(logger, "level", logging.INFO)
    environment = scene.directory / "venv" / "lib" / "python3.11" / "site-packages"
    environment.mkdir(parents=True)
    scene.write(code(1))
    watched = Reloader(scene.lambdas)
    watched.start()
    scene.lambdas.load("http://localhost:8001")
    (environment / "library.py").write_text("VALUE = 1")
    (scene.directory / "notes.txt").write_text("text")
    scene.write(code(2))

    assert said.get(timeout=PATIENCE).getMessage() == "reloaded worker after a change of watched_app.py"
    watched.close(PATIENCE)
    invoke(scene, "a")
    assert NOTES.get(timeout=PATIENCE) == (2, "a")
