"""Source files: what names refer to, places, and comments."""

from __future__ import annotations

import ast

import pytest

from resonate_infra.lint.source import Namespace, SourceFile, Unreadable


def source(text: str) -> SourceFile:
    return SourceFile("program.py", f"# ctx\n{text}".encode())


def space_of(file: SourceFile, name: str) -> Namespace:
    return next(each for each in file.functions if each.name == name)


def call_in(space: Namespace) -> ast.Call:
    return next(node for node in space.nodes if isinstance(node, ast.Call))


@pytest.mark.parametrize(
    ("header", "parameters", "expression", "expected"),
    [
        ("import time", "", "time.time", "time.time"),
        ("import time as t", "", "t.time", "time.time"),
        ("from time import time", "", "time", "time.time"),
        ("from datetime import datetime as dt", "", "dt.now", "datetime.datetime.now"),
        ("import os.path", "", "os.path.exists", "os.path.exists"),
        ("import os.path as p", "", "p.exists", "os.path.exists"),
        ("from . import clock", "", "clock.now", "..clock.now"),
        ("from .clock import now", "", "now", ".clock.now"),
        ("import time\nnow = time.time", "", "now", "time.time"),
        ("import time\nclock = time\nread = clock.time", "", "read", "time.time"),
        ("try:\n    import time\nexcept ImportError:\n    import clock as time", "", "time.time", "time.time"),
        ("import time\nif ctx:\n    time = None", "", "time.time", None),
        ("import time", "time", "time.time", None),
        ("import time", "*, time", "time.time", None),
        ("import time", "**time", "time.time", None),
        ("", "", "open", "builtins.open"),
        ("def open(): pass", "", "open", None),
        ("class C:\n    open = 1", "", "open", "builtins.open"),
        ("import time\nnow = time.time\nnow = 3", "", "now", None),
        ("a = b\nb = a", "", "a.b", None),
        ("import time", "", "time.time().real", None),
    ],
)
def test_name_is_resolved_to_what_it_refers_to(
    header: str, parameters: str, expression: str, expected: str | None
) -> None:
    space = space_of(source(f"{header}\ndef function({parameters}):\n    {expression}()\n"), "function")

    assert space.dotted(call_in(space).func) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("import random as time\ntime.time()", "random.time"),
        ("for time in x: pass\ntime.time()", None),
        ("with x as time: pass\ntime.time()", None),
        ("try: pass\nexcept ValueError as time: pass\ntime.time()", None),
        ("match x:\n    case [*time]: pass\ntime.time()", None),
        ("match x:\n    case time: pass\ntime.time()", None),
        ("if (time := x): pass\ntime.time()", None),
        ("del time\ntime.time()", None),
        ("global time\ntime = x\ntime.time()", None),
        ("global time\ntime.time()", "time.time"),
        ("class time: pass\ntime.time()", None),
    ],
)
def test_name_bound_in_a_function_hides_the_import(body: str, expected: str | None) -> None:
    indented = body.replace("\n", "\n    ")
    space = space_of(source(f"import time\nx = 1\ndef function():\n    {indented}\n"), "function")

    name = space.dotted(call_in(space).func)

    assert name == expected or (expected is None and name is not None and not name.startswith("time."))


def test_nested_function_sees_names_around_it_except_of_classes() -> None:
    file = source(
        "def outer():\n    import time\n    class C:\n        import random\n"
        "        def method(self):\n            time.time(), random.random()\n"
    )
    space = space_of(file, "method")

    assert [space.dotted(node.func) for node in space.nodes if isinstance(node, ast.Call)] == [
        "time.time",
        "builtins.random.random",
    ]


def test_functions_own_their_bodies_and_not_their_defaults() -> None:
    file = source(
        "@decorator(1)\ndef outer(a=default(2)) -> result(3):\n    call(4)\n    return lambda b=inner(5): last(6)\n"
    )

    calls = {
        space.name: [ast.unparse(node.func) for node in space.nodes if isinstance(node, ast.Call)]
        for space in file.spaces.values()
    }

    assert calls == {"<module>": ["decorator", "default", "result"], "outer": ["call", "inner"], "lambda": ["last"]}


def test_place_counts_characters_and_not_bytes() -> None:
    file = SourceFile("program.py", "# ctx\ndef f():\n    'äöü€😀', g()\n".encode())

    assert file.place(call_in(space_of(file, "f"))) == (3, 14, 3, 17)


def test_encoding_of_the_file_is_respected() -> None:
    file = SourceFile("program.py", "# -*- coding: latin-1 -*-\n# ctx\ndef f():\n    'ä', g()\n".encode("latin-1"))

    assert file.place(call_in(space_of(file, "f"))) == (4, 10, 4, 13)
    assert "ä" in file.text


def test_comment_counts_in_the_first_and_last_line() -> None:
    file = source(
        "def f():\n    g(\n        1,\n    )  # noqa #resonate:ignore[ rs001 , RS002]\n    h()  # resonate: ignore\n"
    )
    first, second = (node for node in space_of(file, "f").nodes if isinstance(node, ast.Call))

    assert [file.ignores(code, file.place(first)) for code in ("RS001", "RS002", "RS003")] == [True, True, False]
    assert file.ignores("RS003", file.place(second))


def test_text_that_looks_like_a_comment_is_not_one() -> None:
    file = source("def f():\n    g('# resonate: ignore')\n")

    assert not file.ignores("RS001", file.place(call_in(space_of(file, "f"))))


def test_file_that_is_not_python_is_unreadable() -> None:
    with pytest.raises(Unreadable, match=r"^is not Python: ") as raised:
        source("x = 1\nif:\n")
    assert raised.value.line == 3
