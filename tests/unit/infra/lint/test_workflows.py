"""Workflows: which functions are replayed, and which commands they make."""

from __future__ import annotations

import pytest

from resonate_infra.lint.source import SourceFile
from resonate_infra.lint.workflows import Workflows

IMPORT = "from resonate import Context, Resonate\nresonate = Resonate()\n"


def workflows(text: str) -> Workflows:
    return Workflows(SourceFile("program.py", f"# Context\n{text}".encode()))


def replayed(text: str) -> list[str]:
    return [code.space.name for code in workflows(text).codes if code.replayed]


@pytest.mark.parametrize(
    "text",
    [
        "def f(c: Context):\n    yield",
        "def f(c: 'Context'):\n    yield",
        "import resonate as r\ndef f(c: r.Context):\n    yield",
        "from resonate import Context as C\ndef f(c: C):\n    yield",
        "from resonate.workflow.context import Context as C\ndef f(c: C):\n    yield",
        "async def f(c: Context):\n    await c.sleep(1)",
        "async def f(c: Context):\n    command = c.sleep(1)\n    await command",
        "@resonate.register\ndef f(ctx):\n    yield",
        "@resonate.register(name='g')\ndef f(_):\n    yield",
        "def f(ctx):\n    yield\nresonate.register(f)",
        "def f(anything):\n    yield anything.sleep(1)\nresonate.register(f, version=2)",
        "def f(ctx):\n    yield ctx.sleep(1).options(timeout=3)",
        "def f(ctx):\n    yield from ctx.typesafe(ctx.sleep(1))",
        "from mine import Context\ndef f(c: Context):\n    yield c.run(step)",
        "from typing import Any\ndef f(ctx: Any):\n    yield ctx.run(step)",
        "def f(ctx: Context | None):\n    yield ctx.run(step)",
        "register = resonate.register\n@register\ndef f(ctx):\n    yield",
        "def f(ctx):\n    yield\nresonate.register(name='g')(f)",
        "async def f(ctx):\n    await ctx.rpc('g')",
        "class A:\n    def f(self, ctx: Context):\n        yield",
        "class A:\n    @staticmethod\n    def f(ctx: Context):\n        yield",
    ],
)
def test_function_that_issues_commands_is_a_workflow(text: str) -> None:
    assert replayed(IMPORT + text) == ["f"]


@pytest.mark.parametrize(
    "text",
    [
        "def f(c: Context):\n    return 1",
        "async def f(c: Context):\n    await g()",
        "async def f(c: Context):\n    yield c.sleep(1)",
        "def f():\n    yield",
        "def f(ctx):\n    yield 1",
        "def f(other):\n    yield other.sleep(1)",
        "def f(c: int):\n    yield c.sleep(1)",
        "def f(ctx: ' not python'):\n    yield ctx.sleep(1)",
        "from contextlib import contextmanager\n@contextmanager\ndef f(c: Context):\n    yield",
        "import atexit\n@atexit.register\ndef f(ctx):\n    yield",
        "def test_f(c: Context):\n    yield",
        "class A:\n    def f(ctx):\n        yield ctx.sleep(1)",
        "f = lambda ctx: (yield ctx.sleep(1))",
    ],
)
def test_function_that_issues_no_command_is_not_a_workflow(text: str) -> None:
    assert replayed(IMPORT + text) == []


def test_contexts_of_other_libraries_need_our_import() -> None:
    bot = "async def f(ctx: commands.Context):\n    await ctx.rpc('g')"

    assert replayed(f"from discord.ext import commands\n{bot}") == []
    assert replayed("async def f(ctx):\n    await ctx.send('pong')") == []
    assert replayed("async def f(ctx):\n    await ctx.run('make')") == []
    assert replayed("async def f(ctx):\n    await ctx.run(step)") == ["f"]


def test_functions_that_a_workflow_calls_belong_to_it() -> None:
    text = """
def helper(): deeper()
def deeper(): helper()
def part(ctx):
    yield ctx.sleep(1)
def step(ctx): helper()
def passed(): pass
def flow(c: Context):
    helper()
    yield from part(c)
    yield c.run(step, passed)
"""
    found = workflows(IMPORT + text).codes

    assert [(code.space.name, code.workflow, code.replayed) for code in found] == [
        ("part", "part", True),
        ("flow", "flow", True),
        ("helper", "flow", True),
        ("deeper", "flow", True),
        ("step", "step", False),
    ]
    assert [code.where for code in found[1:3]] == ["the workflow `flow`", "`helper`, which the workflow `flow` calls,"]


@pytest.mark.parametrize(
    "call",
    [
        "c.run(branch)",
        "c.begin_run(branch, 1)",
        "c.map(branch, [1])",
        "c.lfc(branch)",
        "c.rpc(branch)",
        "saga.run(branch, undo=(other, 1))",
        "saga.run(other, undo=(branch, 1))",
        "c.run(branch.func)",
    ],
)
def test_functions_that_a_workflow_runs_have_a_context(call: str) -> None:
    text = f"def branch(anything):\n    yield\ndef flow(c: Context):\n    saga = c.saga()\n    yield {call}\n"

    assert replayed(IMPORT + text) == ["branch", "flow"]


def test_async_function_that_passes_its_context_is_a_workflow() -> None:
    text = """
async def inner(ctx: Context):
    await ctx.sleep(1)
async def middle(ctx: Context):
    await inner(ctx)
async def outer(ctx: Context):
    await middle(ctx)
async def other(ctx: Context):
    await plain(ctx)
async def plain(ctx: Context):
    pass
"""
    assert workflows(IMPORT + text).count == 3


def test_commands_have_their_options_and_owners() -> None:
    text = """
def flow(c: Context):
    saga = c.saga()
    yield c.rpc("f", 1).options(target="a").options(timeout=3)
    yield c.time.time()
    yield c.random.randint(1, 6)
    yield saga.compensate()
    yield other.run(1)
    c.get_dependency("x")
"""
    (code,) = workflows(IMPORT + text).codes
    found = list(code.commands())

    assert [command.text for command in found] == [
        "ctx.rpc(...)",
        "ctx.time.time(...)",
        "ctx.random.randint(...)",
        "saga.compensate(...)",
    ]
    assert found[0].given.keys() == {"target", "timeout"}


def test_registered_names_are_those_of_the_calls() -> None:
    text = """
def f(ctx): pass
@resonate.register(name="g", version=2)
def g_2(ctx: Context): pass
resonate.register(f)
resonate.register(module.h)
resonate.register(f, name="i")
resonate.register(name="j")(module.h)
resonate.register(name="k")(f)
"""
    found = workflows(IMPORT + text)

    assert found.names == {"f", "g", "h", "i", "j", "k"}
    assert found.functions == {"f", "g_2", "h"}
    assert found.registers
    assert not workflows("admin.register(Model)").registers


@pytest.mark.parametrize(
    "text",
    [
        "resonate.register(f, name=computed)",
        "resonate.register(f, **options)",
        "for each in functions: resonate.register(each)",
        "resonate.register(make())",
        "register = resonate.register(**options)",
    ],
)
def test_registered_name_that_is_computed_is_unknown(text: str) -> None:
    assert None in workflows(f"{IMPORT}def f(ctx): pass\n{text}").names
