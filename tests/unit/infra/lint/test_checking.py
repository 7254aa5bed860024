"""The check as a whole: a corpus of programs, directories, comments, and names that several files register.

`corpus/bad_*.py` have a comment with the codes at the end of each line that must be found. `corpus/good_*.py` have no
findings. Each program is checked with all rules.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from resonate_infra.lint.checking import Checked, check
from resonate_infra.lint.rules import RULES, selection

ROOT = Path(__file__).parents[4]
CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.py"))
MARK = re.compile(r"#((?: RS\d{3})+)$")
ALL = frozenset(RULES)

SHOP = """
from resonate import Context, Resonate

resonate = Resonate(group="worker")

@resonate.register
def order(ctx: Context, item: str):
    yield ctx.rpc("ship", item)
"""
CARRIER = SHOP.replace("order", "ship").replace('"ship"', '"order"')


def marks(path: Path) -> Counter[tuple[int, str]]:
    """Return the lines and codes that the comments of a program ask for."""
    found: Counter[tuple[int, str]] = Counter()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if mark := MARK.search(line):
            found.update((number, code) for code in mark.group(1).split())
    return found


def lines(checked: Checked) -> Counter[tuple[int, str]]:
    return Counter((each.line, each.code) for each in checked.findings)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_program_has_exactly_the_marked_findings(path: Path) -> None:
    checked = check([path], ALL)

    assert lines(checked) == marks(path)
    assert checked.unreadable == []
    assert bool(checked.findings) == path.stem.startswith("bad_")


def test_corpus_has_each_rule_and_enough_programs() -> None:
    kinds = Counter(path.stem.partition("_")[0] for path in CORPUS)

    assert kinds.keys() == {"bad", "good"}
    assert min(kinds.values()) >= 30
    assert {code for path in CORPUS for _, code in marks(path)} == RULES.keys()


def test_findings_of_a_line_end_with_a_comment_there(subtests: pytest.Subtests, tmp_path: Path) -> None:
    """Each finding of the corpus that has a line of its own disappears with a comment at its end, and only it."""
    for path in CORPUS:
        text = path.read_text(encoding="utf-8").splitlines()
        expected = marks(path)
        for number, code in expected:
            single = sum(count for (line, _), count in expected.items() if line == number) == 1
            if not single or "resonate:" in text[number - 1]:
                continue
            with subtests.test(path.stem, line=number):
                changed = [*text]
                changed[number - 1] = f"{MARK.sub('', text[number - 1])}  # resonate: ignore[{code}]"
                program = tmp_path / path.name
                program.write_text("\n".join(changed), encoding="utf-8")
                assert lines(check([program], ALL)) == expected - Counter({(number, code): 1})


@pytest.mark.parametrize("place", ["examples", "functions", "infra/resonate_infra/project"])
def test_programs_of_the_project_have_no_finding(place: str) -> None:
    checked = check([ROOT / place], selection((), ()))

    assert [f"{each.path}:{each.line} {each.code}" for each in checked.findings] == []


def test_tests_workflows_have_the_findings_they_ask_for() -> None:
    """`unawaited` and `refusing` begin calls that they do not await, on purpose."""
    places = ["tests/support/worker_code", "tests/upgrade"]
    checked = check([ROOT / place for place in places], selection((), ()))

    assert checked.workflows > 80
    assert {(each.code, each.workflow) for each in checked.findings} == {("RS103", "unawaited"), ("RS103", "refusing")}


def test_directory_is_searched_without_environments(tmp_path: Path) -> None:
    for name in ("a.py", "b.txt", "in/c.py", ".hidden/d.py", "node_modules/e.py", "env/pyvenv.cfg", "env/f.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(SHOP if name != "env/pyvenv.cfg" else "")

    assert check([tmp_path], ALL).files == 2
    assert check([tmp_path / "b.txt", tmp_path / "a.py", tmp_path], ALL).files == 3


def test_file_that_is_not_python_is_named_with_its_line(tmp_path: Path) -> None:
    for name, data in (
        ("syntax.py", b"x = 1\ndef ctx(:\n"),
        ("nul.py", b"ctx\0"),
        ("bytes.py", b"ctx = '\xff'"),
        ("deep.py", b"ctx = " + b"(" * 5000 + b")" * 5000),
    ):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "escape.py").write_text("ctx = '\\d'")

    checked = check([tmp_path, tmp_path], ALL)

    assert [Path(each.path).name for each in checked.unreadable] == ["bytes.py", "deep.py", "nul.py", "syntax.py"]
    assert all(each.message.startswith("is not Python: ") for each in checked.unreadable)
    assert checked.unreadable[-1].line == 2
    assert (checked.files, checked.workflows) == (2, 1)


def test_missing_path_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.py"):
        check([tmp_path / "absent.py"], ALL)


def test_names_are_looked_up_in_all_paths(tmp_path: Path) -> None:
    shop, carrier, plain = (tmp_path / name for name in ("shop.py", "carrier.py", "plain.py"))
    shop.write_text(SHOP)
    carrier.write_text(CARRIER)
    plain.write_text("# no ctx\n")

    assert [each.code for each in check([shop], ALL).findings] == ["RS401"]
    assert check([shop, carrier], ALL).findings == []
    assert check([tmp_path], ALL).findings == []
    # A path that registers nothing may be a part of a program.
    assert check([shop, plain], ALL).findings == []


def test_name_registered_elsewhere_by_a_call_is_known(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    for registering, findings in (
        ("app.register(steps.ship)", 0),
        ("app.register(steps.other, name='ship')", 0),
        ("app.register(steps.other, name=NAME)", 0),
        ("app.register(steps.other, **options)", 0),
        ("app.register(steps.other)", 1),
        ("app.register(partial(steps.other))", 0),
    ):
        (tmp_path / "main.py").write_text(f"from shop import app, steps\nfrom resonate import x\n{registering}")
        assert len(check([tmp_path], ALL).findings) == findings, registering
