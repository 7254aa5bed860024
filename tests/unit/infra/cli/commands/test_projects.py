"""`resonate init`. `tests/unit/infra/test_scaffold.py` tests the files that it writes."""

from __future__ import annotations

from pathlib import Path

from resonate_infra.scaffold import FILES
from tests.support.command_line import CommandLine


def test_init_writes_a_project_for_the_named_stack(tmp_path: Path) -> None:
    directory = tmp_path / "orders"
    ran = CommandLine().ok("init", str(directory), "--stack", "shop")

    assert ran.out.splitlines() == [str(directory / name) for name in FILES["worker"]]
    assert "/resonate/shop/table" in (directory / "template.yaml").read_text()
    ran = CommandLine().json("init", str(tmp_path))
    assert ran == {"directory": str(tmp_path), "files": [str(tmp_path / name) for name in FILES["worker"]]}


def test_init_does_not_overwrite_files(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("mine")

    code, line = CommandLine().fails("init", str(tmp_path))
    assert code == 1
    assert line == f"not overwriting {tmp_path / 'app.py'}: choose another directory"
    assert [path.name for path in tmp_path.iterdir()] == ["app.py"]


def test_init_writes_the_chosen_template(tmp_path: Path) -> None:
    ran = CommandLine().ok("init", str(tmp_path), "--template", "api")

    assert ran.out.splitlines() == [str(tmp_path / name) for name in FILES["api"]]
    code, line = CommandLine().fails("init", str(tmp_path / "new"), "--template", "web")
    assert code == 2
    assert "'web'" in line
    assert not (tmp_path / "new").exists()
