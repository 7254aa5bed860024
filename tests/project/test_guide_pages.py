"""The pages of the guide and of the patterns: they name all that users can call. `test_blocks.py` runs their blocks."""

import re
from inspect import signature
from pathlib import Path
from types import FunctionType

import pytest

from resonate import Context, Handle, Resonate
from resonate.executions import Executions
from resonate.promises import Promises
from resonate.schedules import Schedules
from resonate.workflow.combining import Combining
from resonate.workflow.messages import Messaging
from resonate.workflow.options import CallOptions, RemoteOptions, RunOptions, ScheduleOptions, StartOptions

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted([*(DOCS / "guide").glob("*.md"), *(DOCS / "patterns").glob("*.md")])
NOT_FOR_USERS = {"renewed", "next_id", "kept", "shown", "define", "redefine"}
"""Methods that other modules of the SDK use."""


def test_index_of_guide_and_patterns_lists_all_pages() -> None:
    for folder in {page.parent for page in PAGES}:
        index = (folder / "index.md").read_text(encoding="utf-8")
        pages = [page.name for page in PAGES if page.parent == folder and page.stem != "index"]
        assert [name for name in pages if f"]({name})" not in index] == [], folder


def test_options_page_has_options_of_each_call() -> None:
    text = (DOCS / "guide" / "options.md").read_text(encoding="utf-8")
    columns = {name: set[str]() for name in ("local", "remote", "promise", "client", "function", "stack")}
    for names, *cells in re.findall(
        r"^\| \[([^]]+)\]\(#\S+\) \|" + r"([^|]*)\|" * len(columns) + "$", text, re.MULTILINE
    ):
        for column, cell in zip(columns, cells, strict=True):
            if cell.strip():
                columns[column].update(re.findall(r"`(\w+)`", names))

    no_effect = {"target", "version"}
    assert columns == {
        "local": set(RunOptions.__annotations__),
        "remote": set(RemoteOptions.__annotations__),
        "promise": set(RemoteOptions.__annotations__) - no_effect,
        "client": set(ScheduleOptions.__annotations__),
        "function": set(CallOptions.__annotations__),
        "stack": set(StartOptions.__annotations__),
    }


def test_clients_page_has_arguments_of_each_constructor() -> None:
    text = (DOCS / "guide" / "clients.md").read_text(encoding="utf-8")
    connect = text[text.index("## Connect") : text.index("## Register functions")]
    listed = {name for row in re.findall(r"^\| (`\w+`) \|", connect, re.MULTILINE) for name in re.findall(r"\w+", row)}
    arguments = {*signature(Resonate).parameters, *signature(Resonate.local).parameters}

    assert listed == arguments | set(signature(Resonate.remote).parameters)


@pytest.mark.parametrize("kind", [Context, Resonate, Handle, Promises, Schedules, Executions])
def test_guide_names_public_methods(kind: type) -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    names = {
        name
        for base in kind.__mro__
        for name, member in vars(base).items()
        if isinstance(member, (FunctionType, classmethod)) and not name.startswith("_")
    }

    assert {name for name in names if re.search(rf"[`.]{name}\b", text) is None} <= NOT_FOR_USERS


def test_guide_names_arguments_of_methods() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    methods = [
        *(vars(Combining)[name] for name in ("all", "race", "map", "wait", "begin_sleep")),
        *(vars(Messaging)[name] for name in ("receive", "send", "publish")),
        *(vars(Context)[name] for name in ("rpc", "promise", "sleep", "get_dependency")),
        *(vars(Promises)[name] for name in ("create", "resolve", "reject", "cancel")),
        *(vars(Executions)[name] for name in ("list", "iterate", "counts", "fork", "redrive")),
        *(vars(Resonate)[name] for name in ("register", "handler")),
    ]
    names = {name for method in methods for name in signature(method).parameters}

    assert [name for name in sorted(names - {"self"}) if re.search(rf"\b{name}\b", text) is None] == []
