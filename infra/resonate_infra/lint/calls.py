"""Rules for the calls of functions: arguments that cannot travel, unknown names, and effects that may repeat."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from resonate_infra.lint.determinism import CLIENTS, Found
from resonate_infra.lint.source import AnyFunction, Namespace
from resonate_infra.lint.workflows import BEGIN, LOCAL, REMOTE, Code, CommandCall, Workflows, command_of, is_context

_LOCKS = frozenset(
    f"{module}.{name}"
    for module in ("threading", "asyncio", "multiprocessing")
    for name in ("Lock", "RLock", "Event", "Condition", "Semaphore", "BoundedSemaphore", "Barrier", "Queue")
)
_ITERATORS = frozenset(
    f"builtins.{name}" for name in ("iter", "map", "filter", "zip", "enumerate", "reversed", "range")
)
_FILES = frozenset({"builtins.open", "io.open", "codecs.open"})
_OBJECTS = CLIENTS | {
    "socket.create_connection",
    "threading.local",
    "threading.Thread",
    "logging.getLogger",
    "re.compile",
}
_EFFECTS = frozenset(
    {"charge", "pay", "refund", "transfer", "withdraw", "deposit", "buy", "purchase", "book", "reserve", "order"}
    | {"send", "email", "mail", "notify", "sms", "create", "insert", "post", "publish", "ship", "submit", "issue"}
)
"""Words in the names of steps that look as if a repetition had a second effect."""
_READS = frozenset({"check", "count", "fetch", "find", "get", "has", "is", "list", "load", "look", "read", "search"})
"""First words in the names of steps that only read."""
_LIMITS = frozenset({"at_most_once", "idempotency_key"})
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")


class RemoteName(NamedTuple):
    """Name of a function that a command calls remotely.

    Attributes:
        name: the name.
        is_function: whether the command has the function itself, and this is the name in its file.
        code: the function with the command.
        node: the place of the name.
        command: the command.
    """

    name: str
    is_function: bool
    code: Code
    node: ast.expr
    command: CommandCall

    @property
    def message(self) -> str:
        """The message if the name is not registered."""
        text = f"`{self.command.text}` in {self.code.where} calls `{self.name}`, and the given paths do not register it"
        return f"{text}: correct the name, register it, or name its workers by `.options(target=...)`"


def check(code: Code) -> Iterator[Found]:
    """Yield arguments that cannot travel."""
    if not code.replayed:
        return
    for command in code.commands():
        if "encoder" in command.given:
            continue
        for argument in _travelling(command):
            for node, kind in _stuck(code, argument):
                text = f"{kind} cannot travel as an argument of `{command.text}` in {code.where.rstrip(',')}"
                yield "RS302", node, f"{text}: pass data with a JSON form"
    for node in code.space.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "continue_as":
            if not is_context(code.space, node.func.value):
                continue
            for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
                for part, kind in _stuck(code, argument):
                    text = f"{kind} cannot travel as an argument of `ctx.continue_as(...)` in {code.where.rstrip(',')}"
                    yield "RS302", part, f"{text}: pass data with a JSON form"


def remote_names(code: Code) -> Iterator[RemoteName]:
    """Yield the names, and functions without registration, that a workflow calls in its own program."""
    for command in code.commands():
        remote = command.method in REMOTE or (command.method == "map" and _is_remote_map(command))
        if not remote or not command.call.args or "target" in command.given:
            continue
        func = command.call.args[0]
        if isinstance(func, ast.Constant) and isinstance(func.value, str):
            yield RemoteName(func.value, False, code, func, command)
        elif isinstance(func, ast.Name) and (target := _unregistered(code.space, func)) is not None:
            yield RemoteName(target.name, True, code, func, command)
        elif isinstance(func, ast.Lambda):
            yield RemoteName("lambda", True, code, func, command)


def _unregistered(space: Namespace, func: ast.Name) -> Namespace | None:
    """Return the function of the file that a name is, if the file does not register it in any way."""
    target = space.function(func)
    return None if target is None or target.registered or _has_other_uses(target) else target


def _has_other_uses(target: Namespace) -> bool:
    """Return whether a function is decorated, or used other than in calls and commands: that may register it."""
    if getattr(target.node, "decorator_list", ()):
        return True
    source, home = target.source, target.parent
    for space in source.spaces.values():
        if target.name not in space.loads or space.find(target.name) is not home:
            continue
        for node in space.nodes:
            if isinstance(node, ast.Name) and node.id == target.name and isinstance(node.ctx, ast.Load):
                call = source.parents.get(node)
                called = isinstance(call, ast.Call) and (call.func is node or command_of(space, call) is not None)
                if not called:
                    return True
    return False


def effects(code: Code, workflows: Workflows) -> Iterator[Found]:
    """Yield steps whose names look as if a repetition had a second effect, and that nothing protects."""
    if not code.replayed:
        return
    for command in code.commands():
        if command.owner not in ("ctx", "saga") or command.method not in LOCAL or not command.call.args:
            continue
        func = command.call.args[0]
        name = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
        words = [word.lower() for word in _WORD.findall(name)]
        step = code.space.function(func)
        if not _EFFECTS.intersection(words) or words[0] in _READS or _LIMITS & command.given.keys():
            continue
        if step is not None and (workflows.is_workflow(step) or _has_key(step)):
            continue
        text = f"the step `{name}` in {code.where.rstrip(',')} may run again after it had its effect"
        way = "pass an idempotency key such as `ctx.id` to the service, or give `.options(at_most_once=True)`"
        yield "RS402", command.whole, f"{text}: {way}"


def _is_remote_map(command: CommandCall) -> bool:
    return any(
        each.arg == "remote" and isinstance(each.value, ast.Constant) and each.value.value is True
        for each in command.call.keywords
    )


def _travelling(command: CommandCall) -> list[ast.expr]:
    """Return the arguments of a command that are stored as JSON."""
    if command.method in REMOTE:
        named = [each.value for each in command.call.keywords if each.arg not in ("result_type", "undo")]
        return [*command.call.args[1:], *named]
    if command.method == "map" and _is_remote_map(command):
        items = command.call.args[1:2]
        return [part for each in items if isinstance(each, ast.List | ast.Tuple) for part in each.elts]
    if command.method == "promise":
        return [each.value for each in command.call.keywords if each.arg == "data"]
    if command.method in ("publish", "send"):
        first = 1 if command.method == "publish" else 2
        return [
            *command.call.args[first : first + 1],
            *(each.value for each in command.call.keywords if each.arg == "value"),
        ]
    return []


def _stuck(code: Code, argument: ast.expr) -> Iterator[tuple[ast.expr, str]]:
    """Yield the parts of an argument that have no JSON form, and what they are."""
    pending = [argument]
    while pending:
        node = pending.pop(0)
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            pending += node.elts
        elif isinstance(node, ast.Dict):
            pending += node.values
        elif (kind := _kind(code.space, node)) is not None:
            yield node, kind


def _kind(space: Namespace, node: ast.expr) -> str | None:
    """Return what an expression is, if it has no JSON form."""
    if isinstance(node, ast.Lambda):
        return "a lambda"
    if isinstance(node, ast.GeneratorExp):
        return "a generator"
    if isinstance(node, ast.Call):
        return _made(space, node)
    if isinstance(node, ast.Attribute) and (method := space.function(node)) is not None and method.is_method:
        return f"the method `{method.name}`"
    if not isinstance(node, ast.Name):
        return None
    if is_context(space, node):
        return f"the context `{node.id}`"
    home = space.find(node.id)
    binders = home.binders.get(node.id, []) if home is not None else []
    if len(binders) == 1 and isinstance(binders[0], AnyFunction | ast.ClassDef):
        return f"`{node.id}`, which is a {'class' if isinstance(binders[0], ast.ClassDef) else 'function'},"
    values = space.values_of(node)
    if values is None or len(values) != 1:
        return None
    (value,) = values
    if isinstance(value, ast.Yield | ast.Await) and value.value is not None:
        command = command_of(space, value.value)
        if command is not None and command.owner == "ctx" and command.method in BEGIN:
            return f"the promise `{node.id}`"
        return None
    kind = _kind(space, value) if isinstance(value, ast.Lambda | ast.GeneratorExp | ast.Call) else None
    return None if kind is None else f"`{node.id}`, which is {kind},"


def _made(space: Namespace, call: ast.Call) -> str | None:
    name = space.dotted(call.func)
    if name in _FILES:
        return "an open file"
    if name in _LOCKS:
        return f"a `{name}`"
    if name in _ITERATORS:
        return f"`{(name or '').removeprefix('builtins.')}(...)`"
    if name in _OBJECTS:
        return f"a `{name}`"
    if command_of(space, call) is not None:
        return None  # It is found as a command that is not yielded.
    target = space.function(call.func)
    if target is not None and target.yields and not target.is_async:
        return f"the generator `{target.name}(...)`"
    return None


def _has_key(step: Namespace) -> bool:
    """Return whether a step uses something that identifies its effect."""
    context = step.context
    for node in step.nodes:
        match node:
            case ast.Attribute(attr=attr, value=ast.Name(id=of)):
                if "idempot" in attr.lower() or (of == context and attr in ("id", "info")):
                    return True
            case ast.Name(id=text) | ast.keyword(arg=str(text)) | ast.Constant(value=str(text)):
                if "idempot" in text.lower():
                    return True
            case _:
                pass
    return any("idempot" in argument.arg.lower() for argument in step.parameters)
