"""Rules for commands that are not carried out, promises that are dropped, and the order of commands."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from resonate_infra.lint.determinism import Found
from resonate_infra.lint.source import AnyFunction, Namespace, SourceFile
from resonate_infra.lint.workflows import BEGIN, WAITS, Code, CommandCall, command_of, is_context

_AWAITS = ast.Yield | ast.YieldFrom | ast.Await
_USES = (
    ast.BinOp
    | ast.UnaryOp
    | ast.Compare
    | ast.FormattedValue
    | ast.If
    | ast.While
    | ast.Assert
    | ast.For
    | ast.AsyncFor
)
"""What uses a value at once. A command there is not the value."""
_CONSUMERS = frozenset(
    f"builtins.{name}"
    for name in ("abs", "bool", "dict", "float", "int", "len", "list", "max", "min", "print", "range", "round", "set")
) | {f"builtins.{name}" for name in ("sorted", "str", "sum", "tuple", "enumerate", "zip", "any", "all")}
_REDUCERS = frozenset(f"builtins.{name}" for name in ("sum", "max", "min", "any", "all"))
_HOLDERS = ast.List | ast.Tuple | ast.Dict | ast.Set | ast.ListComp | ast.SetComp | ast.GeneratorExp
_IN_ORDER = frozenset({f"builtins.{name}" for name in ("list", "tuple", "enumerate", "iter", "reversed")})
_LAZY = {"builtins.map": 1, "builtins.filter": 1, "builtins.zip": 0}
"""Functions that keep the order of iterables, and the first argument that is one."""
_SETS = frozenset({"builtins.set", "builtins.frozenset"})
_SET_METHODS = frozenset({"union", "intersection", "difference", "symmetric_difference"})


def check(code: Code) -> Iterator[Found]:
    """Yield commands that have no effect, or an order that differs at each run."""
    for command in code.commands():
        if (problem := _unused(code, command)) is not None:
            whole = command.whole
            run = f"`{command.text}` in {code.where} is not carried out"
            yield "RS101", whole, f"{run}, because {problem}: write `{code.awaits} {command.text}`"
        if code.replayed:
            yield from _dropped(code, command)
            yield from _mapped_set(code, command)
    yield from _continuations(code)
    if code.replayed:
        yield from _unstarted(code)
        yield from _loops(code)


def _unused(code: Code, command: CommandCall) -> str | None:
    """Return why a command is not carried out. None: it is, or this is not known."""
    source, whole = code.source, command.whole
    parent = source.parents.get(whole)
    if isinstance(_user(source, whole), ast.Expr):
        return "it is not yielded" if code.awaits == "yield" else "it is not awaited"
    if not code.replayed:
        # A function that is not registered may return a command to a workflow that yields it.
        return "it is returned" if code.space.registered and isinstance(parent, ast.Return) else None
    if _is_used_at_once(source, parent, whole):
        return "it is used in place of its result"
    if (name := _assigned(parent, whole)) is not None:
        if not _read(code.space, name):
            return f"`{name}` is not used"
        return f"`{name}` is used in place of its result" if _only_used_as_value(code.space, name) else None
    part: ast.AST = whole
    while isinstance(parent, _HOLDERS) and part not in getattr(parent, "generators", ()):
        part, parent = parent, source.parents.get(parent)
    if part is not whole and (problem := _held(code, parent, part)) is not None:
        return problem
    if isinstance(parent, ast.Return) and (code.space.yields or code.space.is_async):
        return "it is returned"
    call = source.parents.get(parent) if isinstance(parent, ast.keyword) else parent
    if not isinstance(call, ast.Call) or part is call.func:
        return None
    outer = command_of(code.space, call)
    if outer is None:
        direct = whole in call.args and code.space.dotted(call.func) in _CONSUMERS
        return "it is used in place of its result" if direct else None
    if outer.call is not call or outer.owner == "saga" or outer.method in WAITS or outer.method == "typesafe":
        return None
    return f"it is an argument of `{outer.text}`"


def _held(code: Code, parent: ast.AST | None, holder: ast.AST) -> str | None:
    """Return why a list or generator of commands does not carry them out. None: it does, or this is not known."""
    if isinstance(parent, ast.Yield | ast.Await):
        return "a list of commands is not a command (`ctx.all` is one)"
    if isinstance(parent, ast.Call) and holder in parent.args and code.space.dotted(parent.func) in _REDUCERS:
        return "it is used in place of its result"
    name = _assigned(parent, holder)
    return None if name is None or _read(code.space, name) else f"`{name}` is not used"


def _user(source: SourceFile, node: ast.AST) -> ast.AST | None:
    """Return what uses the value of an expression, also if it is a part of a condition or list."""
    parent = source.parents.get(node)
    while isinstance(parent, ast.BoolOp | ast.IfExp | ast.ListComp | ast.SetComp | ast.List | ast.Tuple):
        parent = source.parents.get(parent)
    return parent


def _is_used_at_once(source: SourceFile, parent: ast.AST | None, whole: ast.AST) -> bool:
    """Return whether the code around a command uses it as if it were the result."""
    match parent:
        case ast.IfExp():
            return whole is parent.test
        case ast.Compare():
            return not all(isinstance(operator, ast.Is | ast.IsNot) for operator in parent.ops)
        case ast.Subscript():
            return whole is parent.value
        case ast.comprehension():
            return whole is parent.iter
        case ast.BoolOp():
            return isinstance(source.parents.get(parent), ast.If | ast.While | ast.UnaryOp | ast.Assert)
        case _:
            return isinstance(parent, _USES)


def _assigned(parent: ast.AST | None, value: ast.AST) -> str | None:
    """Return the only name that a value is assigned to."""
    if isinstance(parent, ast.Assign) and len(parent.targets) == 1 and isinstance(parent.targets[0], ast.Name):
        return parent.targets[0].id
    if isinstance(parent, ast.AnnAssign) and parent.value is value and isinstance(parent.target, ast.Name):
        return parent.target.id
    return None


def _read(space: Namespace, name: str) -> bool:
    home = space.find(name)
    return home is None or home.parent is None or home.reads(name)


def _dropped(code: Code, command: CommandCall) -> Iterator[Found]:
    source = code.source
    awaited = source.parents.get(command.whole)
    if command.owner != "ctx" or command.method not in BEGIN or not isinstance(awaited, ast.Yield | ast.Await):
        return
    parent = source.parents.get(awaited)
    name = _assigned(parent, awaited)
    if name and _read(code.space, name) and _only_used_as_value(code.space, name):
        text = f"the promise `{name}` of `{command.text}` in {code.where} is used in place of its result"
        yield "RS103", awaited, f"{text}: `{code.awaits} {name}` gives the result"
    elif (
        isinstance(parent, ast.Expr)
        or _only_collected(code.space, parent)
        or (name and not name.startswith("_") and not _read(code.space, name))
    ):
        text = f"the promise of `{command.text}` in {code.where} is not kept"
        way = f"keep it and `{code.awaits}` it, or use `ctx.detached`"
        yield "RS103", awaited, f"{text}: the workflow waits for it when it returns, but gets no error of it; {way}"


def _only_collected(space: Namespace, call: ast.AST | None) -> bool:
    """Return whether a call appends a promise to a list of the function that nothing reads."""
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.func.attr != "append":
        return False
    of, source = call.func.value, space.source
    if not isinstance(of, ast.Name) or space.find(of.id) is not space or any(each.reads(of.id) for each in space.inner):
        return False
    values = space.values(of.id)
    if values is None or not all(isinstance(value, ast.List) for value in values):
        return False
    reads = [node for node in space.nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    parents = [source.parents.get(node) for node in reads if node.id == of.id]
    return all(isinstance(each, ast.Attribute) and each.attr == "append" for each in parents)


def _only_used_as_value(space: Namespace, name: str) -> bool:
    """Return whether a variable is read only where its value is used at once, so that nothing awaits what it holds."""
    if space.find(name) is not space or any(inner.reads(name) for inner in space.inner):
        return False
    source = space.source
    reads = [node for node in space.nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    return all(_is_used_at_once(source, source.parents.get(node), node) for node in reads if node.id == name)


def _unstarted(code: Code) -> Iterator[Found]:
    """Yield calls of generators and async functions of the file whose objects are dropped: their code never runs."""
    for node in code.space.nodes:
        if not isinstance(node, ast.Expr) or not isinstance(call := node.value, ast.Call):
            continue
        target = code.space.function(call.func)
        if target is None or not (target.yields or target.is_async) or not isinstance(target.node, AnyFunction):
            continue
        if target.node.decorator_list:
            continue
        text = f"`{target.name}(...)`"
        if target.is_async:
            way, why = f"await {text[1:-1]}", "it is not awaited"
        else:
            way, why = f"yield from {text[1:-1]}", "its generator is dropped"
        yield "RS101", call, f"{text} in {code.where} is not carried out, because {why}: write `{way}`"


def _continuations(code: Code) -> Iterator[Found]:
    for node in code.space.nodes:
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr == "continue_as" and is_context(code.space, node.func.value):
            parent = code.source.parents.get(node)
            name = _assigned(parent, node)
            if isinstance(parent, ast.Expr | _AWAITS) or (name is not None and not _read(code.space, name)):
                text = f"`ctx.continue_as(...)` in {code.where} has no effect"
                yield "RS102", node, f"{text}: write `return ctx.continue_as(...)`"


def _loops(code: Code) -> Iterator[Found]:
    for node in code.space.nodes:
        match node:
            case ast.For() if _is_set(code.space, node.iter) and _has_command(code, node.body):
                yield "RS104", node.iter, _unordered(code)
            case ast.While() if _has_command(code, node.body):
                yield from (("RS104", call, _unordered(code)) for call in _popped(code, node))
            case ast.ListComp() | ast.GeneratorExp() | ast.DictComp() | ast.SetComp():
                over_set = [each.iter for each in node.generators if _is_set(code.space, each.iter)]
                if over_set and _has_command(code, [node]):
                    yield "RS104", over_set[0], _unordered(code)
            case _:
                pass


def _popped(code: Code, loop: ast.While) -> Iterator[ast.Call]:
    """Yield where a loop with commands takes a member out of a set."""
    for node in ast.walk(loop):
        match node:
            case ast.Call(func=ast.Attribute(attr="pop", value=ast.Name() as of), args=[]) if _is_set(code.space, of):
                yield node
            case _:
                pass


def _mapped_set(code: Code, command: CommandCall) -> Iterator[Found]:
    if command.method != "map" or command.owner != "ctx":
        return
    items = [*command.call.args[1:2], *(each.value for each in command.call.keywords if each.arg == "items")]
    for each in items:
        if _is_set(code.space, each):
            yield "RS104", each, _unordered(code)


def _unordered(code: Code) -> str:
    return f"{code.where} issues commands in the order of a set, which differs between processes: use `sorted(...)`"


def _is_set(space: Namespace, node: ast.expr, depth: int = 0) -> bool:
    """Return whether the order of an iterable is that of a set."""
    match node:
        case ast.Set():
            return not all(isinstance(each, ast.Constant) and isinstance(each.value, int) for each in node.elts)
        case ast.SetComp():
            return True
        case ast.List() | ast.Tuple():
            return any(isinstance(each, ast.Starred) and _is_set(space, each.value, depth) for each in node.elts)
        case ast.BinOp(op=ast.BitOr() | ast.BitAnd() | ast.BitXor() | ast.Sub()):
            sides = [node.left] if isinstance(node.op, ast.Sub) else [node.left, node.right]
            return any(_is_set(space, side, depth) or _is_keys(side) for side in sides)
        case ast.Call(func=ast.Attribute(attr=method)) if method in _SET_METHODS:
            return _is_set(space, node.func.value, depth) if isinstance(node.func, ast.Attribute) else False
        case ast.Call():
            name = space.dotted(node.func)
            if name in _SETS:
                return not (node.args and _is_range(space, node.args[0]))
            if name in _LAZY:
                return any(_is_set(space, each, depth) for each in node.args[_LAZY[name] :])
            return name in _IN_ORDER and bool(node.args) and _is_set(space, node.args[0], depth)
        case ast.Name() if depth < 2:
            return _names_set(space, node, depth)
        case _:
            return False


def _is_keys(node: ast.expr) -> bool:
    """Return whether an expression gives the keys of a dictionary. What is combined of them is a set."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "keys"


def _is_range(space: Namespace, node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and space.dotted(node.func) == "builtins.range"


def _names_set(space: Namespace, node: ast.Name, depth: int) -> bool:
    home = space.find(node.id)
    binders = home.binders.get(node.id, []) if home is not None else []
    if home is None or not binders:
        return False
    if len(binders) == 1 and isinstance(binders[0], ast.arg):
        annotation = binders[0].annotation
        if isinstance(annotation, ast.Subscript):
            if isinstance(annotation.slice, ast.Name) and annotation.slice.id == "int":
                return False
            annotation = annotation.value
        return annotation is not None and (home.parent or home).dotted(annotation) in _SETS
    values = home.values_of(node)
    return bool(values) and all(_is_set(home, value, depth + 1) for value in values or ())


def _has_command(code: Code, body: list[ast.stmt] | list[ast.expr]) -> bool:
    for part in body:
        for node in ast.walk(part):
            if isinstance(node, ast.Call) and command_of(code.space, node) is not None:
                return True
    return False
