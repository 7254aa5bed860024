"""The structure of the packages: which way imports point, how long modules are, and unique class names."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PACKAGES = {
    "resonate_store": ROOT / "store" / "resonate_store",
    "resonate": ROOT / "sdk" / "resonate",
    "resonate_infra": ROOT / "infra" / "resonate_infra",
}
DIRECTORIES = {**PACKAGES, "functions": ROOT / "functions"}

ALLOWED: dict[str, set[str]] = {
    "resonate_store": set(),
    "resonate": {"resonate_store"},
    "resonate_infra": {"resonate", "resonate_store"},
    "functions": {"resonate", "resonate_infra", "resonate_store"},
}

# Each costs a cold start tens of milliseconds, or is not in the base install at all.
HEAVY = ("aws_lambda_powertools", "boto3", "botocore", "chalice", "croniter", "cryptography", "jwt", "moto", "pynamodb")

MOST_LINES = 450
MOST_MODULES = 14
MOST_FLOORS = 10
IMPORT_PATH = "Import path of SDK 0.6.7."
"""The docstring of the one-line modules that hold an import path of SDK 0.6.7 (docs/decisions/0050)."""

Graph = Mapping[str, set[str]]


def name_of(path: Path, package: str) -> str:
    """The dotted name of a module."""
    parts = path.relative_to(PACKAGES[package].parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    name_of(path, package): path
    for package, directory in PACKAGES.items()
    for path in sorted(directory.rglob("*.py"))
    if "project" not in path.parts
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8"), str(path)) for name, path in MODULES.items()}


def imports_of(module: str) -> set[str]:
    """The modules of the project that a module names in an import, wherever the import stands."""
    found: set[str] = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inside & MODULES.keys()
            if inside - MODULES.keys():
                found.add(node.module)
    return found & MODULES.keys() - {module}


IMPORTS: Graph = {module: imports_of(module) for module in MODULES}


def rooms(package: str) -> Graph:
    """The folders and modules that lie directly in a package, and which others each imports."""

    def room(module: str) -> str:
        return ".".join(module.split(".")[:2])

    graph: dict[str, set[str]] = {}
    for module, imported in IMPORTS.items():
        if module.split(".")[0] == package:
            there = {room(each) for each in imported if each.split(".")[0] == package}
            graph.setdefault(room(module), set()).update(there - {room(module)})
    return graph


def floors(graph: Graph) -> int:
    """The length of the longest chain of imports."""
    height: dict[str, int] = {}
    for each in TopologicalSorter(graph).static_order():
        height[each] = 1 + max((height[below] for below in graph.get(each, ())), default=0)
    return max(height.values())


def imported_packages(module: Path) -> Iterator[tuple[int, str]]:
    """The top-level packages a module names, wherever in it the import stands, with their lines."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"), filename=str(module))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module.partition(".")[0]


@pytest.mark.parametrize("package", DIRECTORIES)
def test_imports_point_one_way(package: str) -> None:
    modules = sorted(DIRECTORIES[package].rglob("*.py"))
    assert any(module.read_text(encoding="utf-8").strip() for module in modules), f"{package} is empty"

    forbidden = (DIRECTORIES.keys() | {"benchmarks", "examples", "tests"}) - ALLOWED[package] - {package}
    offences = [
        f"{module.relative_to(ROOT)}:{line} imports {imported}"
        for module in modules
        for line, imported in imported_packages(module)
        if imported in forbidden
    ]

    assert offences == []


@pytest.mark.parametrize("package", ["resonate", "resonate_store"])
def test_importing_loads_no_heavy_library(package: str) -> None:
    script = f"import sys, {package}; print(*sorted(sys.modules.keys() & set({HEAVY!r})))"

    completed = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert (completed.returncode, completed.stderr, completed.stdout.split()) == (0, "", [])


def test_modules_do_not_import_in_a_circle() -> None:
    """Imports for type checkers, and inside functions, count as well."""
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_do_not_import_in_a_circle(package: str) -> None:
    try:
        assert floors(rooms(package)) <= MOST_FLOORS
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def test_modules_are_short() -> None:
    lines = {name: path.read_text(encoding="utf-8").count("\n") for name, path in MODULES.items()}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_folders_are_small() -> None:
    inside: dict[Path, int] = {}
    for name, path in MODULES.items():
        if ast.get_docstring(TREES[name]) != IMPORT_PATH:
            inside[path.parent] = inside.get(path.parent, 0) + 1
    assert {str(folder.relative_to(ROOT)): n for folder, n in inside.items() if n > MOST_MODULES} == {}


def test_class_names_are_unique() -> None:
    """Excepted are names that SDK 0.6.7 fixes, in `resonate.compat`, and `Meta`, which pynamodb asks of each model."""
    homes: dict[str, list[str]] = {}
    for module, tree in TREES.items():
        if not module.startswith("resonate.compat"):
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef) and node.name != "Meta":
                    homes.setdefault(node.name, []).append(module)
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}


WRITERS = {
    "work": {"resonate.engine.attempts"},
    # The latter two build nodes.
    "node": {"resonate.engine.nodes", "resonate.engine.conventions", "resonate.worker.worker"},
    "coroutine": {"resonate.engine.interpreter"},
    "replaying": {"resonate.engine.progress", "resonate.workflow.context"},
}
"""The modules that assign attributes of what goes by this name, or the attribute of this name."""


@pytest.mark.parametrize("name", WRITERS)
def test_each_state_of_the_engine_has_one_owner(name: str) -> None:
    found: set[str] = set()
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                of = node.value.id if isinstance(node.value, ast.Name) else None
                if name == (node.attr if name == "replaying" else of) and module.startswith("resonate."):
                    found.add(module)
    assert found == WRITERS[name]


def names_in(path: Path) -> set[str]:
    """The classes, functions and methods (as `Class.method`) that a module defines, and its constants."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def test_architecture_page_names_what_exists() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:sdk|store|infra|functions|tests)/[\w/.]+)`", page))
    rows = re.findall(r"\| `([\w/.]+\.py)` \| `([\w.]+)` \|", page)

    assert sorted(path for path in paths if not (ROOT / path).exists()) == []
    assert len(rows) > 20
    assert [(path, name) for path, name in rows if name not in names_in(ROOT / path)] == []
