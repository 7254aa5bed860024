"""Rules for state that a replay does not repeat: module variables, and variables that branches share."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from resonate_infra.lint.determinism import Found
from resonate_infra.lint.source import Namespace
from resonate_infra.lint.workflows import Code, command_of

_CHANGES = frozenset(
    {"append", "extend", "insert", "add", "update", "pop", "popitem", "popleft", "remove", "discard", "clear"}
    | {"setdefault", "appendleft", "extendleft", "sort", "reverse", "put", "put_nowait", "subtract"}
    | {"difference_update", "intersection_update", "symmetric_difference_update"}
)
_CONTAINERS = frozenset(
    {f"builtins.{name}" for name in ("list", "dict", "set", "bytearray")}
    | {f"collections.{name}" for name in ("defaultdict", "deque", "Counter", "OrderedDict", "ChainMap")}
    | {"queue.Queue", "queue.SimpleQueue", "asyncio.Queue", "array.array"}
)
_LITERALS = ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
_NUMBERS = frozenset({"itertools.count", "builtins.iter"})


def check(code: Code) -> Iterator[Found]:
    """Yield changes of shared state, and reads of module variables that change."""
    if code.replayed:
        yield from _module_state(code)
        yield from _object_state(code)
        yield from _branches(code)


def _module_state(code: Code) -> Iterator[Found]:
    """Yield one finding for each module variable and kind of use in a function."""
    space, module = code.space, code.source.module
    if space.parent is None:
        return
    changed = _changed_names(module)
    seen: set[tuple[str, str]] = set()
    for node, name in _changes(space):
        if space.find(name) is module and (_is_container(module, name) or isinstance(node, ast.Name)):
            seen.add((name, "write"))
            yield "RS008", node, _text(code, name, "writes")
    for name, nodes in module.rebound.items():
        for function, node in nodes:
            if function is space and (name, "write") not in seen:
                seen.add((name, "write"))
                yield "RS008", node, _text(code, name, "writes")
    for node in space.nodes:
        if not isinstance(node, ast.Name) or not isinstance(node.ctx, ast.Load) or node.id not in changed:
            continue
        if space.find(node.id) is module and not {(node.id, "read"), (node.id, "write")} & seen:
            seen.add((node.id, "read"))
            yield "RS008", node, _text(code, node.id, "reads")


def _object_state(code: Code) -> Iterator[Found]:
    """Yield one finding for each attribute of a shared object that a function assigns, or reads although it changes."""
    seen: set[str] = set()
    for node, name in _assigned_attributes(code.space):
        text = ast.unparse(node)
        if text not in seen and _is_shared(code.space, name):
            seen.add(text)
            why = "all executions of a process share, and a replay in another process does not find"
            way = "keep it in a local variable, or write it in a step"
            yield "RS008", node, f"{code.where.rstrip(',')} writes `{text}`, which {why}: {way}"
    module = code.source.module
    changed = _changed_names(module)
    for node in code.space.nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and isinstance(node.ctx, ast.Load):
            text = f"{node.value.id}.{node.attr}"
            if text in changed and text not in seen and code.space.find(node.value.id) is module:
                seen.add(text)
                yield "RS008", node, _text(code, text, "reads")


def _is_shared(space: Namespace, name: str) -> bool:
    """Return whether a name is a class or object of the module, or the object whose method is registered."""
    home = space.find(name)
    if home is None:
        return False
    if home is space.source.module:
        binders = home.binders.get(name, [])
        return bool(binders) and not any(isinstance(each, ast.alias) for each in binders)
    decorated = getattr(home.node, "decorator_list", ())
    return home.registered and home.is_this(name) and not decorated


def _text(code: Code, name: str, does: str) -> str:
    if does == "writes":
        why, way = "a replay in another process does not find", "return the value, or write it in a step"
        return f"{code.where.rstrip(',')} writes the module variable `{name}`, which {why}: {way}"
    way = "read it in a step, or pass it as an argument"
    return f"{code.where.rstrip(',')} reads the module variable `{name}`, which other code of this file changes: {way}"


@lru_cache(maxsize=1)  # files are checked one after the other
def _changed_names(module: Namespace) -> set[str]:
    """Return the variables of a module, and their attributes, that its functions change."""
    found = set(module.rebound)
    at_import = set(_called_at_import(module))
    for space in module.source.functions:
        if any(each in at_import for each in _with_outer(space)):
            continue
        for node, name in _changes(space):
            if space.find(name) is module and (_is_container(module, name) or _is_item(module, node, name)):
                found.add(name)
        for node, name in _assigned_attributes(space):
            if _is_shared(space, name) and space.find(name) is module:
                found.add(ast.unparse(node))
    return found


def _is_item(module: Namespace, node: ast.AST, name: str) -> bool:
    """Return whether a node changes an item of what the module holds in a variable of its own."""
    binders = module.binders.get(name, ())
    return isinstance(node, ast.Subscript) and not any(isinstance(each, ast.alias) for each in binders)


def _assigned_attributes(space: Namespace) -> Iterator[tuple[ast.Attribute, str]]:
    """Yield the attributes of variables that a function assigns, and the names of the variables."""
    for node in space.nodes:
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load) and isinstance(node.value, ast.Name):
            yield node, node.value.id


def _called_at_import(module: Namespace) -> Iterator[Namespace]:
    """Yield the functions that the module calls itself, also as decorators: they fill registries, once."""
    for node in module.nodes:
        called = [node.func] if isinstance(node, ast.Call) else list(getattr(node, "decorator_list", ()))
        for func in called:
            if (target := module.function(func)) is not None:
                yield target


def _with_outer(space: Namespace) -> Iterator[Namespace]:
    """Yield a namespace and those around it."""
    around: Namespace | None = space
    while around is not None:
        yield around
        around = around.parent


def _changes(space: Namespace) -> Iterator[tuple[ast.AST, str]]:
    """Yield the nodes that change an object, and the variable that holds it."""
    for node in space.nodes:
        of: ast.expr | None = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGES:
            of = node.func.value
        elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            of = node.value
        elif isinstance(node, ast.Call) and node.args and space.dotted(node.func) == "builtins.next":
            of = node.args[0]
        while isinstance(of, ast.Subscript):
            of = of.value
        if isinstance(of, ast.Name):
            yield node, of.id


def _is_container(home: Namespace, name: str) -> bool:
    """Return whether a variable of a namespace holds a container, as far as its assignments show."""
    for binder in home.binders.get(name, ()):
        if isinstance(binder, ast.arg):
            return binder.annotation is not None and _names_container(home, binder.annotation)
    values = home.values(name)
    return bool(values) and all(_container(home, value) for value in values or ())


def _container(home: Namespace, value: ast.expr) -> bool:
    if isinstance(value, ast.BinOp):
        return isinstance(value.op, ast.Mult) and isinstance(value.left, ast.List)
    if isinstance(value, _LITERALS):
        return True
    return isinstance(value, ast.Call) and (home.dotted(value.func) or "") in _CONTAINERS | _NUMBERS


def _names_container(home: Namespace, annotation: ast.expr) -> bool:
    if isinstance(annotation, ast.Subscript):
        annotation = annotation.value
    outside = home.parent or home
    return (outside.dotted(annotation) or "") in _CONTAINERS


def _branches(code: Code) -> Iterator[Found]:
    """Yield changes that functions given to `ctx.run` and the like make to variables of their workflow."""
    seen: set[ast.AST] = set()
    for command in code.commands():
        func = command.func if command.owner == "ctx" else next(iter(command.call.args), None)
        branch = code.space.function(func) if func is not None else None
        if branch is None or branch.node in seen or branch.parent is code.source.module:
            continue
        seen.add(branch.node)
        name = "the lambda" if branch.name == "lambda" else f"`{branch.name}`"
        way = "return the value, and use it where the call is awaited"
        told: set[str] = set()
        for node, shared in _shared(branch, code.space):
            if shared not in told:
                told.add(shared)
                problem = f"{name} changes `{shared}` of {code.where.rstrip(',')}, and a replay does not repeat that"
                yield "RS301", node, f"{problem}: {way}"


def _shared(branch: Namespace, workflow: Namespace) -> Iterator[tuple[ast.AST, str]]:
    """Yield the changes of a branch to variables of its workflow, and the names of the variables."""
    for node in branch.outer:
        if branch.find(node.id) is workflow:
            yield node, node.id
    for node, name in _changes(branch):
        if branch.find(name) is workflow and _is_container(workflow, name) and command_of(branch, node) is None:
            yield node, name
    for node, name in _assigned_attributes(branch):
        if branch.find(name) is workflow and _is_object(workflow, name):
            yield node, name


def _is_object(home: Namespace, name: str) -> bool:
    """Return whether a variable holds an object that its function has made from a class of the file."""
    values = home.values(name)
    return bool(values) and all(isinstance(value, ast.Call) and _is_class(home, value.func) for value in values or ())


def _is_class(space: Namespace, node: ast.expr) -> bool:
    home = space.find(node.id) if isinstance(node, ast.Name) else None
    binders = home.binders.get(node.id, []) if home is not None and isinstance(node, ast.Name) else []
    return bool(binders) and all(isinstance(each, ast.ClassDef) for each in binders)
