"""`resonate init`: a project of one's own; what is in it is tested by `tests/unit/infra/test_scaffold.py`."""

from __future__ import annotations

import json
from pathlib import Path

from resonate_infra.scaffold import FILES
from tests.support.command_line import CommandLine


def test_a_project_is_written_for_the_stack_that_is_named(tmp_path: Path) -> None:
    directory = tmp_path / "orders"
    ran = CommandLine().ok("init", str(directory), "--stack", "shop")

    assert ran.out.splitlines() == [str(directory / name) for name in FILES]
    assert "/resonate/shop/table" in (directory / "template.yaml").read_text()


def test_as_json_it_says_what_it_has_written(tmp_path: Path) -> None:
    ran = CommandLine().ok("init", str(tmp_path), "--json")

    assert json.loads(ran.out) == {"directory": str(tmp_path), "files": [str(tmp_path / name) for name in FILES]}


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("mine")

    code, line = CommandLine().fails("init", str(tmp_path))
    assert code == 1
    assert line == f"not overwriting {tmp_path / 'app.py'}: choose another directory"
    assert [path.name for path in tmp_path.iterdir()] == ["app.py"]


def test_where_nothing_can_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    code, line = CommandLine().fails("init", str(tmp_path / "file" / "orders"))
    assert code == 1
    assert "Not a directory" in line


def test_a_name_that_no_stack_can_have_is_exit_code_2(tmp_path: Path) -> None:
    code, line = CommandLine().fails("init", str(tmp_path / "orders"), "--stack", "1 shop")

    assert code == 2
    assert line.startswith("'1 shop' is no name of a stack")
