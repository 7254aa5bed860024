"""Rules for handlers and `finally` blocks around the places where a workflow is suspended or cancelled.

A worker closes a workflow that it suspends: its `yield` raises GeneratorExit, and `finally` blocks run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from resonate_infra.lint.determinism import Found
from resonate_infra.lint.source import AnyFunction
from resonate_infra.lint.workflows import Code

_AWAITS = ast.Yield | ast.YieldFrom | ast.Await
_ALL = frozenset({"builtins.BaseException", "builtins.GeneratorExit"})


def check(code: Code) -> Iterator[Found]:
    """Yield handlers and blocks that keep a workflow from ending."""
    if not code.replayed:
        return
    for node in code.space.nodes:
        match node:
            case ast.Try() | ast.TryStar() if _waits(node.body):
                yield from _handlers(code, node)
                yield from _finally(code, node)
            case ast.With() | ast.AsyncWith() if _waits(node.body):
                yield from _suppress(code, node)
            case _:
                pass


def _handlers(code: Code, block: ast.Try | ast.TryStar) -> Iterator[Found]:
    for handler in block.handlers:
        caught = _caught(code, handler)
        if caught is None:
            continue
        if not any(isinstance(node, ast.Raise) for node in _inside(handler.body)):
            way = "catch `Exception`, or raise it again at the end"
            yield (
                "RS201",
                handler,
                f"`{caught}` in {code.where} also catches each suspension and cancellation: {way}",
            )
        return


def _caught(code: Code, handler: ast.ExceptHandler) -> str | None:
    """Return the text of a handler that catches the end of a suspended workflow."""
    if handler.type is None:
        return "except:"
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    for kind in kinds:
        if code.space.dotted(kind) in _ALL:
            return f"except {ast.unparse(kind)}"
    return None


def _suppress(code: Code, block: ast.With | ast.AsyncWith) -> Iterator[Found]:
    for item in block.items:
        call = item.context_expr
        if not isinstance(call, ast.Call) or code.space.dotted(call.func) != "contextlib.suppress":
            continue
        if any(code.space.dotted(kind) in _ALL for kind in call.args):
            text = f"`{ast.unparse(call)}` in {code.where} also catches each suspension"
            yield "RS201", call, f"{text} and cancellation: suppress `Exception`"


def _finally(code: Code, block: ast.Try | ast.TryStar) -> Iterator[Found]:
    inside = list(_inside(block.finalbody))
    loops = [node for node in inside if isinstance(node, ast.For | ast.AsyncFor | ast.While)]
    looped = {each for loop in loops for each in _inside(loop.body)}
    for node in inside:
        leaves = isinstance(node, ast.Return) or (isinstance(node, ast.Break | ast.Continue) and node not in looped)
        if leaves:
            word = type(node).__name__.lower()
            text = f"`{word}` in a `finally` block of {code.where.rstrip(',')} drops the error that ends the workflow"
            yield "RS202", node, f"{text}: put it behind the block"
    for node in inside:
        if isinstance(node, _AWAITS):
            text = f"this `finally` block of {code.where.rstrip(',')} runs at each suspension, and its commands do not"
            yield "RS203", node, f"{text}: make sure that what precedes this one may be repeated, or use a saga"
            return


def _waits(body: Iterable[ast.AST]) -> bool:
    return any(isinstance(node, _AWAITS) for node in _inside(body))


def _inside(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield the nodes of a block, in the order of the text, without those of functions in it."""
    pending = list(body)[::-1]
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, AnyFunction | ast.Lambda | ast.ClassDef):
            pending.extend(list(ast.iter_child_nodes(node))[::-1])
