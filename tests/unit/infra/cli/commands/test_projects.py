"""`resonate init`. `tests/unit/infra/test_scaffold.py` tests the files that it writes."""

from __future__ import annotations

import json
from pathlib import Path

from resonate_infra.scaffold import FILES
from tests.support.command_line import CommandLine


def test_init_writes_a_project_for_the_named_stack(tmp_path: Path) -> None:
    directory = tmp_path / "orders"
    ran = CommandLine().ok("init", str(directory), "--stack", "shop")

    assert ran.out.splitlines() == [str(directory / name) for name in FILES]
    assert "/resonate/shop/table" in (directory / "template.yaml").read_text()


def test_init_with_json_lists_the_written_files(tmp_path: Path) -> None:
    ran = CommandLine().ok("init", str(tmp_path), "--json")

    assert json.loads(ran.out) == {"directory": str(tmp_path), "files": [str(tmp_path / name) for name in FILES]}


def test_init_does_not_overwrite_files(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("mine")

    code, line = CommandLine().fails("init", str(tmp_path))
    assert code == 1
    assert line == f"not overwriting {tmp_path / 'app.py'}: choose another directory"
    assert [path.name for path in tmp_path.iterdir()] == ["app.py"]


def test_init_in_unwritable_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    code, line = CommandLine().fails("init", str(tmp_path / "file" / "orders"))
    assert code == 1
    assert "Not a directory" in line


def test_init_with_invalid_stack_name_is_exit_code_2(tmp_path: Path) -> None:
    code, line = CommandLine().fails("init", str(tmp_path / "orders"), "--stack", "1 shop")

    assert code == 2
    assert line.startswith("'1 shop' is no name of a stack")
