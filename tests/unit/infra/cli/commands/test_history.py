"""`resonate history export`."""

from __future__ import annotations

from pathlib import Path

from resonate.testing import History, replay
from tests.support.command_line import CommandLine


def test_exported_history_is_replayed_by_present_code(resonate: CommandLine, id: str, tmp_path: Path) -> None:
    from tests.support.worker_code.orders import order

    resonate.ok("invoke", id, "-f", "order", "-a", "1", "-t", "worker", "--wait")
    file = tmp_path / "order.json"

    assert resonate.ok("history", "export", id, "--output", str(file)).out == ""
    assert resonate.ok("history", "export", id).out == file.read_text()
    assert resonate.ok("history", "export", id, "--json").out == file.read_text()
    history = History.from_json(file.read_text())
    assert [record.id for record in history.records] == [id, f"{id}.1", f"{id}.2", f"{id}.3"]
    replay(history, order)
