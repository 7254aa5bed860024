"""Source files as syntax trees, and what the names in them are bound to."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Iterator
from typing import NamedTuple

AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef
_IGNORE = re.compile(r"#\s*resonate:\s*ignore(?:\[([^\]]*)\])?")
_DEEPEST = 3
"""How many assignments of a name to a name are followed."""


class Unreadable(Exception):
    """The file is not Python.

    Args:
        message: why.
        line: where, from 1.
    """

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


class Namespace:
    """Names of a module, class, function or lambda, and its own nodes: without those of the functions in it.

    Attributes:
        node: the module, class, function or lambda.
        name: its name.
        parent: the namespace around it. None for a module.
        nodes: its own nodes, in the order of the text.
        binders: for each name that it binds, the nodes that bind it.
        rebound: for a module, the functions and nodes in them that assign its names (`global`).
        outer: the nodes that assign names of the functions around it (`nonlocal`).
        inner: the functions and classes in it.
        loads: the names that it reads.
        yields: whether it is a generator.
        context: the name of its parameter for the context of Resonate, if it has one.
        registered: whether its file registers it as a function of Resonate.
    """

    __slots__ = (
        "_globals",
        "_nonlocals",
        "binders",
        "context",
        "inner",
        "loads",
        "name",
        "node",
        "nodes",
        "outer",
        "parent",
        "rebound",
        "registered",
        "source",
        "yields",
    )

    def __init__(self, source: SourceFile, node: ast.AST, name: str, parent: Namespace | None) -> None:
        self.source = source
        self.node = node
        self.name = name
        self.parent = parent
        self.nodes: list[ast.AST] = []
        self.binders: dict[str, list[ast.AST]] = {}
        self.rebound: dict[str, list[tuple[Namespace, ast.AST]]] = {}
        self.outer: list[ast.Name] = []
        self.inner: list[Namespace] = []
        self.loads: set[str] = set()
        self.yields = False
        self.context: str | None = None
        self.registered = False
        self._globals: set[str] = set()
        self._nonlocals: set[str] = set()
        if parent is not None:
            parent.inner.append(self)

    @property
    def is_async(self) -> bool:
        """Whether it is an async function."""
        return isinstance(self.node, ast.AsyncFunctionDef)

    @property
    def is_method(self) -> bool:
        """Whether it is a function of a class, with a first parameter for the object."""
        if self.parent is None or not isinstance(self.parent.node, ast.ClassDef):
            return False
        decorators = getattr(self.node, "decorator_list", ())
        return not any(isinstance(each, ast.Name) and each.id == "staticmethod" for each in decorators)

    @property
    def parameters(self) -> list[ast.arg]:
        """The positional parameters of a function."""
        if not isinstance(self.node, AnyFunction | ast.Lambda):
            return []
        return [*self.node.args.posonlyargs, *self.node.args.args]

    def bind(self, name: str, node: ast.AST) -> None:
        """Note that a node binds a name."""
        if name in self._globals:
            self.source.module.rebound.setdefault(name, []).append((self, node))
        elif name in self._nonlocals:
            if isinstance(node, ast.Name):
                self.outer.append(node)
        else:
            self.binders.setdefault(name, []).append(node)

    def declare(self, node: ast.Global | ast.Nonlocal) -> None:
        """Note names that belong to another namespace."""
        (self._globals if isinstance(node, ast.Global) else self._nonlocals).update(node.names)

    def find(self, name: str) -> Namespace | None:
        """Return the namespace that a name in this one belongs to. None: it is a builtin."""
        space: Namespace | None = self
        while space is not None:
            if name in space._globals:
                module = self.source.module
                return module if name in module.binders or name in module.rebound else None
            own = space is self or not isinstance(space.node, ast.ClassDef)
            if own and name in space.binders:
                return space
            space = space.parent
        return None

    def dotted(self, node: ast.AST, depth: int = 0) -> str | None:
        """Return the full name of what an expression refers to, such as `datetime.datetime.now`.

        Builtins begin with `builtins.`. None: it is not known, or is not the name of an import.
        """
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        origin = self._origin(node.id, depth)
        return None if origin is None else ".".join((origin, *reversed(parts)))

    def _origin(self, name: str, depth: int) -> str | None:
        home = self.find(name)
        if home is None:
            return f"builtins.{name}"
        if name in home.rebound:
            return None
        binders = home.binders.get(name, [])
        origins = self.source.origins
        if binders and all(isinstance(binder, ast.alias) for binder in binders):
            return origins.get(binders[0])
        values = home.values(name)
        if depth < _DEEPEST and values and len(values) == 1 and isinstance(values[0], ast.Name | ast.Attribute):
            return home.dotted(values[0], depth + 1)
        return None

    def function(self, node: ast.AST) -> Namespace | None:
        """Return the function of this file that an expression names, or the lambda that it is.

        `self.name` is the method of the class around, and `functools.partial(f)` is `f`.
        """
        if isinstance(node, ast.Lambda):
            return self.source.spaces.get(node)
        if isinstance(node, ast.Call) and node.args and self.dotted(node.func) == "functools.partial":
            node = node.args[0]
        if isinstance(node, ast.Attribute) and node.attr == "func":  # of a registered function
            node = node.value
        home, name = self._home_of(node)
        binders = home.binders.get(name, []) if home is not None else []
        if len(binders) == 1 and isinstance(binders[0], AnyFunction):
            return self.source.spaces.get(binders[0])
        return None

    def _home_of(self, node: ast.AST) -> tuple[Namespace | None, str]:
        """Return the namespace of a name or method, and the name."""
        if isinstance(node, ast.Name):
            return self.find(node.id), node.id
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            method = self.find(node.value.id)
            if method is not None and method.is_this(node.value.id):
                return method.parent, node.attr
        return None, ""

    def is_this(self, name: str) -> bool:
        """Return whether a name is that of the object whose method this function is."""
        first = self.parameters[0].arg if self.is_method and self.parameters else None
        return name == first and len(self.binders[name]) == 1

    def values(self, name: str) -> list[ast.expr] | None:
        """Return the expressions that are assigned to a name that this namespace binds. None: not all are known."""
        found: list[ast.expr] = []
        for binder in self.binders.get(name, []):
            parent = self.source.parents.get(binder)
            if isinstance(parent, ast.AugAssign):
                continue
            if isinstance(parent, ast.Assign) and binder in parent.targets:
                found.append(parent.value)
            elif isinstance(parent, ast.AnnAssign | ast.NamedExpr):
                if parent.value is not None:
                    found.append(parent.value)
            elif isinstance(parent, ast.withitem):
                found.append(parent.context_expr)
            else:
                return None
        return found or None

    def values_of(self, node: ast.AST) -> list[ast.expr] | None:
        """Return the expressions that are assigned to a name. None: it is not a name, or not all are known."""
        if not isinstance(node, ast.Name) or (home := self.find(node.id)) is None or node.id in home.rebound:
            return None
        return home.values(node.id)

    def reads(self, name: str) -> bool:
        """Return whether it, or a function in it, reads a name."""
        return name in self.loads or any(each.reads(name) for each in self.inner)


class Place(NamedTuple):
    """Place of a node in the text: lines and columns from 1."""

    line: int
    column: int
    end_line: int
    end_column: int


class SourceFile:
    """Python file.

    Args:
        path: its path, as the user named it.
        data: its content.

    Attributes:
        module: the namespace of the module.
        functions: the namespaces of all functions and lambdas.
        spaces: the namespaces of modules, classes, functions and lambdas by their nodes.
        parents: for each node, the one around it.
        origins: the full names of imports.

    Raises:
        Unreadable: the content is not Python.
    """

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(data)
            encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
            self.text = io.TextIOWrapper(io.BytesIO(data), encoding=encoding).read()
        except SyntaxError as error:
            raise Unreadable(f"is not Python: {error.msg}", error.lineno or 1) from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise Unreadable(f"is not Python: {error}", 1) from None
        self._lines: list[str] | None = None
        self._ignored: dict[int, frozenset[str]] | None = None
        self.spaces: dict[ast.AST, Namespace] = {}
        self.parents: dict[ast.AST, ast.AST] = {}
        self.origins: dict[ast.AST, str] = {}
        self.functions: list[Namespace] = []
        self.module = Namespace(self, tree, "<module>", None)
        self.spaces[tree] = self.module
        if self.may_have_workflows:
            self._read(tree)

    @property
    def may_have_workflows(self) -> bool:
        """Whether the text has one of the words that every file with a workflow has."""
        return any(word in self.text for word in ("ctx", "Context", ".register"))

    def place(self, node: ast.AST) -> Place:
        """Return the place of a node."""
        line, end_line = getattr(node, "lineno", 1), getattr(node, "end_lineno", None)
        end_line = end_line or line
        start, end = getattr(node, "col_offset", 0), getattr(node, "end_col_offset", None) or 0
        return Place(line, self._column(line, start), end_line, self._column(end_line, end))

    def ignores(self, code: str, place: Place) -> bool:
        """Return whether a comment in the first or last line of a place turns a rule off there."""
        if self._ignored is None:
            self._ignored = dict(self._comments())
        return any(
            line in self._ignored and (not self._ignored[line] or code in self._ignored[line])
            for line in (place.line, place.end_line)
        )

    def _column(self, line: int, offset: int) -> int:
        if self._lines is None:
            self._lines = self.text.split("\n")
        text = self._lines[line - 1] if line <= len(self._lines) else ""
        return offset + 1 if text.isascii() else len(text.encode()[:offset].decode(errors="replace")) + 1

    def _comments(self) -> Iterator[tuple[int, frozenset[str]]]:
        if _IGNORE.search(self.text) is None:
            return
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type == tokenize.COMMENT and (found := _IGNORE.search(token.string)):
                codes = (each.strip().upper() for each in (found.group(1) or "").split(","))
                yield token.start[0], frozenset(code for code in codes if code)

    def _read(self, tree: ast.Module) -> None:
        pending: list[tuple[ast.AST, ast.AST, Namespace]] = []

        def push(nodes: list[ast.AST], parent: ast.AST, space: Namespace) -> None:
            pending.extend((node, parent, space) for node in reversed(nodes))

        push(list(tree.body), tree, self.module)
        while pending:
            node, parent, space = pending.pop()
            self.parents[node] = parent
            space.nodes.append(node)
            if isinstance(node, AnyFunction | ast.Lambda | ast.ClassDef):
                inside, outside = self._open(node, space)
                push(inside, node, self.spaces[node])
                push(outside, node, space)
                continue
            self._bind(node, space)
            push(list(ast.iter_child_nodes(node)), node, space)

    def _open(
        self, node: AnyFunction | ast.Lambda | ast.ClassDef, space: Namespace
    ) -> tuple[list[ast.AST], list[ast.AST]]:
        """Open the namespace of a node. Return the nodes that belong to it, and those that belong to the one around."""
        name = "lambda" if isinstance(node, ast.Lambda) else node.name
        inner = self.spaces[node] = Namespace(self, node, name, space)
        if isinstance(node, ast.ClassDef):
            space.bind(name, node)
            return list(node.body), [*node.decorator_list, *node.bases, *node.keywords]
        self.functions.append(inner)
        given = node.args
        arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs]
        arguments += [each for each in (given.vararg, given.kwarg) if each is not None]
        for argument in arguments:
            self.parents[argument] = node
            inner.bind(argument.arg, argument)
        outside: list[ast.AST] = [*given.defaults, *(each for each in given.kw_defaults if each is not None)]
        outside += [each.annotation for each in arguments if each.annotation is not None]
        if isinstance(node, ast.Lambda):
            return [node.body], outside
        space.bind(name, node)
        return list(node.body), [*node.decorator_list, *outside, *([node.returns] if node.returns else [])]

    def _bind(self, node: ast.AST, space: Namespace) -> None:
        match node:
            case ast.Name(ctx=ast.Load()):
                space.loads.add(node.id)
            case ast.Name():
                space.bind(node.id, node)
            case ast.Global() | ast.Nonlocal():
                space.declare(node)
            case ast.Yield() | ast.YieldFrom():
                space.yields = True
            case ast.Import():
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    self.origins[alias] = alias.name if alias.asname else top
                    space.bind(alias.asname or top, alias)
            case ast.ImportFrom():
                for alias in node.names:
                    self.origins[alias] = f"{'.' * node.level}{node.module or ''}.{alias.name}"
                    space.bind(alias.asname or alias.name, alias)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                space.bind(name, node)
            case _:
                pass
