"""Files of scripts, valid and invalid."""

from pathlib import Path

import pytest
import yaml

from resonate_infra.conformance.reading import ScriptError, load
from resonate_infra.conformance.script import Any_, At, Each, Has, Keep, Kept, Long, Now, Number, Text


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "some.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_script_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
- title: one
  covers: [1.4, rule 7]
  steps:
    - promise.get: {id: a}
      404: Promise not found
    - promise.search: {}
      follow: true
      times: 2
      200: {promises: []}
- title: two
  covers: [1.8]
  differs: why
  debug: false
  steps:
    - body: "["
      400: <any>
""",
    )
    one, two = load(path)

    assert (one.file, one.line, one.title, one.covers, one.debug) == ("some.yaml", 2, "one", ("1.4", "rule 7"), None)
    get, search = one.steps
    assert (get.line, get.command, get.given, get.status) == (5, "promise.get", {"id": "a"}, 404)
    assert (get.expected, get.request, get.follow, get.times) == ("Promise not found", True, False, 1)
    assert (search.line, search.follow, search.times) == (7, True, 2)
    assert (two.differs, two.debug, two.steps[0].request) == ("why", False, False)


def test_placeholders_are_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        r"""
- title: one
  covers: [1.2]
  steps:
    - k:
        - [<any>, <text>, <text a b>, <number>, <now>, <at -5>, <keep x>, <kept x>, <long 9>]
        - ["at <at 5>", <n>, <id a>, <other>, {resonate:delay: <at 5>}]
        - !has {a: <any>}
        - !each {times: 2, of: {a: <now>}}
      200: {}
""",
    )
    given = load(path)[0].steps[0].given

    assert given == [
        [Any_(), Text(), Text("a b"), Number(), Now(), At(-5), Keep("x"), Kept("x"), Long(9)],
        ["at <at 5>", "<n>", "<id a>", "<other>", {"resonate:delay": "<at 5>"}],
        Has({"a": Any_()}),
        Each(2, {"a": Now()}),
    ]


def test_script_that_moves_the_time_needs_debugging(tmp_path: Path) -> None:
    for step in ("clock: 5", "tick: 5", "messages: []", "debug.snap: {}, 200: {}"):
        (script,) = load(written(tmp_path, f"[{{title: t, covers: [1.2], steps: [{{{step}}}]}}]"))
        assert script.debug is True


INVALID = [
    ("", "it must be a list of scripts"),
    ("a: b", "it must be a list of scripts"),
    ("- [", "while parsing"),
    ("- a", "some.yaml:1: a script is a mapping"),
    ("- {title: t}", "some.yaml:1: a script has a title"),
    ("- {title: t, covers: [], steps: [{tick: 1}]}", "some.yaml:1: a script has a title"),
    ("- {title: t, covers: [x], steps: []}", "some.yaml:1: a script has a title"),
    ("- {title: t, covers: [x], steps: [{tick: 1}], more: 1}", "some.yaml:1: unknown keys: more"),
    ("- title: t\n  covers: [x]\n  steps:\n    - tick", "some.yaml:4: a step is a mapping"),
    ("- {title: t, covers: [x], steps: [{a: 1}]}", "some.yaml:1: which status answers a?"),
    ("- {title: t, covers: [x], steps: [{a: 1, 200: 1, 300: 1}]}", "some.yaml:1: a step is one request"),
    ("- {title: t, covers: [x], steps: [{a: 1, b: 1}]}", "some.yaml:1: a step is one request"),
    ("- {title: t, covers: [x], steps: [{tick: 1, 200: 1}]}", "some.yaml:1: tick has no status"),
    ("- {title: t, covers: [x], steps: [{a: <at noon>, 200: 1}]}", "some.yaml:1: "),
    ("- {title: t, covers: [x], steps: [{a: !each {of: 1}, 200: 1}]}", "needs times and of"),
    ("- {title: t, covers: [x], steps: [{a: !what 1, 200: 1}]}", "!what"),
]


def test_invalid_script_file_is_refused(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for text, message in INVALID:
        with subtests.test(text):
            with pytest.raises(ScriptError, match=r"some\.yaml") as refusal:
                load(written(tmp_path, text))
            assert message in str(refusal.value)
    with pytest.raises(ScriptError, match="No such file"):
        load(tmp_path / "none.yaml")


def test_script_file_ignores_global_yaml_constructors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for loader in (yaml.SafeLoader, yaml.CSafeLoader):
        monkeypatch.setattr(loader, "yaml_multi_constructors", {"!": lambda *_: {}})
    path = written(tmp_path, "- {title: t, covers: [x], steps: [{a: !what 1, 200: 1}]}")

    with pytest.raises(ScriptError, match="!what"):
        load(path)
