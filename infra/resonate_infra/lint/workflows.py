"""Workflows of a file: the functions that are replayed, and the commands in them.

A function is a workflow if its first parameter is a context and it yields, or awaits, commands. Functions that a
workflow calls directly run at each replay too, so they belong to its code. Functions that it passes to `ctx.run` do
not: they are steps, or workflows themselves.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from resonate_infra.lint.source import AnyFunction, Namespace, SourceFile

BEGIN = frozenset({"begin_run", "lfi", "begin_rpc", "rfi"})
"""Methods of a context whose commands return a promise that its workflow waits for."""
LOCAL = frozenset({"run", "lfc", "begin_run", "lfi"})
REMOTE = frozenset({"rpc", "rfc", "begin_rpc", "rfi", "detached"})
WAITS = frozenset({"all", "all_settled", "any", "race"})
COMMANDS = (
    LOCAL
    | REMOTE
    | WAITS
    | {"promise", "sleep", "begin_sleep", "map", "wait", "cancel", "receive", "send", "publish"}
    | {"patched", "deprecate_patch", "typesafe"}
)
"""Methods of a context that return a command."""
_COMMON = frozenset({"send", "wait", "all", "any", "map", "cancel", "sleep"})
"""Methods that the contexts of other libraries have too."""
_SAGA = frozenset({"run", "rpc", "compensate"})
_DRAWN = frozenset({"time", "random"})
_NOT_REGISTERING = ("atexit.", "codecs.", "copyreg.", "selectors.", "webbrowser.", "functools.")
_HELPERS = ("contextlib.contextmanager", "contextlib.asynccontextmanager", "pytest.fixture")


class CommandCall(NamedTuple):
    """Call of a method that returns a command.

    Attributes:
        method: the name of the method, such as `run`.
        owner: `ctx`, `saga`, `time` or `random`.
        call: the call of the method.
        options: the calls of `.options(...)` after it.
        whole: the call with its options.
    """

    method: str
    owner: str
    call: ast.Call
    options: tuple[ast.Call, ...]
    whole: ast.Call

    @property
    def text(self) -> str:
        """The command as it is named in messages."""
        return f"{self.owner if self.owner in ('ctx', 'saga') else f'ctx.{self.owner}'}.{self.method}(...)"

    @property
    def arguments(self) -> list[ast.expr]:
        """The positional and the named arguments."""
        return [*self.call.args, *(keyword.value for keyword in self.call.keywords)]

    @property
    def func(self) -> ast.expr | None:
        """The function, or its name, that the command calls."""
        calls = self.method in LOCAL | REMOTE or self.method == "map"
        return self.call.args[0] if calls and self.call.args else None

    @property
    def given(self) -> dict[str, ast.expr]:
        """The options by name."""
        return {each.arg: each.value for call in self.options for each in call.keywords if each.arg}


class Code(NamedTuple):
    """Function whose own nodes are checked.

    Attributes:
        space: the function.
        workflow: the name of the workflow that runs it.
        replayed: whether a replay runs it. A step is not replayed.
    """

    space: Namespace
    workflow: str
    replayed: bool

    @property
    def source(self) -> SourceFile:
        """Its file."""
        return self.space.source

    @property
    def awaits(self) -> str:
        """The word before a command."""
        return "await" if self.space.is_async else "yield"

    @property
    def where(self) -> str:
        """The place as it is named in messages."""
        if not self.replayed:
            return f"the function `{self.workflow}`"
        if self.space.name == self.workflow:
            return f"the workflow `{self.workflow}`"
        return f"`{self.space.name}`, which the workflow `{self.workflow}` calls,"

    def commands(self) -> Iterator[CommandCall]:
        """Yield the commands that it makes, each once, with its options."""
        for node in self.space.nodes:
            if isinstance(node, ast.Call) and (command := command_of(self.space, node)) and command.call is node:
                yield complete(self.source, command)


def command_of(space: Namespace, node: ast.AST) -> CommandCall | None:
    """Return the command that an expression makes, with the options that the expression has."""
    whole, options = node, list[ast.Call]()
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "options":
        options.append(node)
        node = node.func.value
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not isinstance(whole, ast.Call):
        return None
    method, of = node.func.attr, node.func.value
    if isinstance(of, ast.Attribute) and of.attr in _DRAWN and is_context(space, of.value):
        return CommandCall(method, of.attr, node, tuple(options), whole)
    if method in COMMANDS and is_context(space, of):
        return CommandCall(method, "ctx", node, tuple(options), whole)
    if method in _SAGA and isinstance(of, ast.Name) and _is_saga(space, of):
        return CommandCall(method, "saga", node, tuple(options), whole)
    return None


def complete(source: SourceFile, command: CommandCall) -> CommandCall:
    """Return a command with the options that follow it in the text."""
    whole, options = command.whole, list(command.options)
    while (
        isinstance(attribute := source.parents.get(whole), ast.Attribute)
        and attribute.attr == "options"
        and isinstance(call := source.parents.get(attribute), ast.Call)
    ):
        options.append(call)
        whole = call
    return command._replace(whole=whole, options=tuple(options))


def is_context(space: Namespace, node: ast.AST) -> bool:
    """Return whether an expression is the context of a function."""
    if not isinstance(node, ast.Name):
        return False
    home = space.find(node.id)
    return home is not None and home.context == node.id and len(home.binders[node.id]) == 1


def registered_name(call: ast.Call | None, default: str | None) -> str | None:
    """Return the name under which a call of `register` registers a function. None: it is computed."""
    for keyword in call.keywords if call else ():
        if keyword.arg == "name":
            if isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str):
                return keyword.value.value
            return None
        if keyword.arg is None:
            return None
    return default


class Workflows:
    """What is replayed in a file.

    Args:
        source: the file.

    Attributes:
        codes: the functions to check.
        names: the names that the file registers. None is among them if one is computed.
        functions: the names of the functions that it registers. None is among them if one is not known.
        registers: whether the file registers a function of Resonate.
        count: the number of workflows.
    """

    def __init__(self, source: SourceFile) -> None:
        self.source = source
        self.names: set[str | None] = set()
        self.functions: set[str | None] = set()
        self._registered: set[Namespace] = set()
        self._imports_resonate = any(origin.split(".")[0] == "resonate" for origin in source.origins.values())
        self.registers = False
        self._registrations()
        self._contexts()
        self.registers = self.registers or any(space.context is not None for space in self._registered)
        self._workflows = self._found()
        self.count = len(self._workflows)
        self.codes = list(self._codes())

    def is_workflow(self, space: Namespace) -> bool:
        """Return whether a function is a workflow."""
        return space in self._workflows

    def _registrations(self) -> None:
        source = self.source
        for space in source.functions:
            for decorator in getattr(space.node, "decorator_list", ()):
                call = decorator if isinstance(decorator, ast.Call) else None
                if _registers(space.parent, call.func if call else decorator):
                    self._register(space, call)
        for space in source.spaces.values():
            for node in space.nodes:
                if isinstance(node, ast.Call) and _registers(space, node.func):
                    self._registered_by(space, node)

    def _registered_by(self, space: Namespace, call: ast.Call) -> None:
        """Note what a call of `register` registers, if it is not a decorator."""
        around = self.source.parents.get(call)
        if isinstance(around, AnyFunction | ast.ClassDef):
            return
        curried = isinstance(around, ast.Call) and around.func is call
        given = around.args if curried and isinstance(around, ast.Call) else call.args
        target = (space.function(given[0]) or self._method(given[0])) if given else None
        if target is not None:
            self._register(target, call)
            return
        self.registers = self.registers or self._imports_resonate
        last = _last_name(space, given[0]) if given else None
        self.names.add(registered_name(call, last))
        self.functions.add(last)

    def _register(self, space: Namespace, call: ast.Call | None) -> None:
        if _first(space) is not None:
            self._registered.add(space)
            space.registered = True
            self.names.add(registered_name(call, space.name))
            self.functions.add(space.name)

    def _method(self, node: ast.expr) -> Namespace | None:
        """Return the method that an attribute names, if one class of the file has a method of this name."""
        if not isinstance(node, ast.Attribute):
            return None
        found = [space for space in self.source.functions if space.name == node.attr and space.is_method]
        return found[0] if len(found) == 1 else None

    def _contexts(self) -> None:
        for space in self.source.functions:
            if (first := _first(space)) is not None and self._has_context(space, first):
                space.context = first.arg
        changed = True
        while changed:
            changed = False
            for space in self.source.functions:
                for node in space.nodes:
                    if not isinstance(node, ast.Call) or (command := command_of(space, node)) is None:
                        continue
                    for func in _functions_of(command):
                        target = space.function(func)
                        if target is not None and target.context is None and (first := _first(target)) is not None:
                            target.context = first.arg
                            changed = True

    def _has_context(self, space: Namespace, first: ast.arg) -> bool:
        registered = space in self._registered
        if not registered and space.name.startswith("test_"):
            return False
        match _annotated(space, first):
            case True:
                return True
            case False:
                return False
            case None:
                pass
        named = first.arg in ("ctx", "_ctx", "_", "context")
        if registered and named:
            return True
        if not named and not registered and not _ends_with_context(first.annotation):
            return False
        if _is_foreign(space, first) and not self._imports_resonate:
            return False
        space.context = first.arg  # only for the question whether it issues commands
        evident = any(_issues(space, node, self._imports_resonate) for node in space.nodes)
        space.context = None
        return evident

    def _found(self) -> set[Namespace]:
        found: set[Namespace] = set()
        candidates = [space for space in self.source.functions if space.context is not None]
        for space in candidates:
            if isinstance(space.node, ast.Lambda) or _is_helper(space):
                continue
            if space.is_async:
                if not space.yields and any(_makes(space, node) for node in space.nodes):
                    found.add(space)
            elif space.yields:
                found.add(space)
        changed = True
        while changed:
            before = len(found)
            found.update(
                space for space in candidates if space.is_async and space not in found and _passes(space, found)
            )
            changed = len(found) > before
        return found

    def _codes(self) -> Iterator[Code]:
        seen: set[Namespace] = set()
        ordered = [space for space in self.source.functions if space in self._workflows]
        for workflow in ordered:
            pending = [workflow]
            while pending:
                space = pending.pop()
                if space in seen or (space is not workflow and space in self._workflows):
                    continue
                seen.add(space)
                yield Code(space, workflow.name, True)
                pending += _called(space)
        for space in self.source.functions:
            if space.context is not None and space not in seen and not isinstance(space.node, ast.Lambda):
                yield Code(space, space.name, False)


def _first(space: Namespace) -> ast.arg | None:
    """Return the parameter of a function for its context."""
    parameters = space.parameters[1:] if space.is_method else space.parameters
    return parameters[0] if parameters else None


def _annotated(space: Namespace, argument: ast.arg) -> bool | None:
    """Return whether an annotation is that of a context. None: it can be."""
    annotation = argument.annotation
    if annotation is None:
        return None
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            annotation = ast.parse(annotation.value, mode="eval").body
        except (SyntaxError, ValueError):
            return False
    name = (space.parent or space).dotted(annotation)
    if name == "typing.Any" or isinstance(annotation, ast.Subscript | ast.BinOp):
        return None
    if not (_ends_with_context(annotation) or (name or "").endswith("Context")):
        return False
    return True if name is not None and name.split(".")[0] in ("resonate", "builtins") else None


def _ends_with_context(annotation: ast.expr | None) -> bool:
    match annotation:
        case ast.Attribute(attr=name) | ast.Name(id=name) | ast.Constant(value=str(name)):
            return name.endswith("Context")
        case _:
            return False


def _is_foreign(space: Namespace, first: ast.arg) -> bool:
    """Return whether an annotation is imported from a library that is not Resonate."""
    if first.annotation is None:
        return False
    name = (space.parent or space).dotted(first.annotation)
    return name is not None and not name.startswith((".", "resonate", "builtins.", "typing."))


def _registers(space: Namespace | None, func: ast.expr) -> bool:
    if space is None:
        return False
    values = space.values_of(func)
    if values is not None and len(values) == 1:
        (func,) = values
    if not isinstance(func, ast.Attribute) or func.attr != "register":
        return False
    return not (space.dotted(func) or "").startswith(_NOT_REGISTERING)


def _last_name(space: Namespace, node: ast.expr) -> str | None:
    """Return the name of a function of another module. None: it is computed."""
    if isinstance(node, ast.Attribute):
        return node.attr
    name = space.dotted(node)
    return None if name is None or name.startswith("builtins.") else name.rpartition(".")[2]


def _issues(space: Namespace, node: ast.AST, imported: bool) -> bool:
    """Return whether a node yields or awaits a command. Without an import of Resonate, it must not be ambiguous."""
    if not isinstance(node, ast.Yield | ast.YieldFrom | ast.Await) or node.value is None:
        return False
    command = command_of(space, node.value)
    if command is None:
        return False
    if imported or not space.is_async or command.owner != "ctx":
        return True
    return command.method not in _COMMON and not isinstance(command.func, ast.Constant)


def _makes(space: Namespace, node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and (command := command_of(space, node)) is not None:
        home = space.find(_root(command))
        return home is space
    return False


def _root(command: CommandCall) -> str:
    node: ast.AST = command.call.func
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _passes(space: Namespace, workflows: set[Namespace]) -> bool:
    """Return whether an async function awaits a workflow to which it passes its context."""
    for node in space.nodes:
        if isinstance(node, ast.Await) and isinstance(call := node.value, ast.Call):
            target = space.function(call.func)
            if target in workflows and any(is_context(space, argument) for argument in call.args):
                return True
    return False


def _is_helper(space: Namespace) -> bool:
    outside = space.parent or space
    for decorator in getattr(space.node, "decorator_list", ()):
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if outside.dotted(called) in _HELPERS:
            return True
    return False


def _is_saga(space: Namespace, node: ast.Name) -> bool:
    values = space.values_of(node)
    return bool(values) and all(
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Attribute)
        and value.func.attr == "saga"
        and is_context(space, value.func.value)
        for value in values or ()
    )


def _functions_of(command: CommandCall) -> Iterator[ast.expr]:
    """Yield the expressions of the functions that a command calls."""
    if command.func is not None:
        yield command.func
    if command.owner == "saga":
        yield from command.call.args[:1]
        for keyword in command.call.keywords:
            if keyword.arg == "undo" and isinstance(keyword.value, ast.Tuple):
                yield from keyword.value.elts[:1]


def _called(space: Namespace) -> Iterator[Namespace]:
    """Yield the functions of the file, and methods of its object, that a function calls directly."""
    for node in space.nodes:
        if isinstance(node, ast.Call):
            target = space.function(node.func)
            if target is not None and isinstance(target.node, AnyFunction):
                yield target
