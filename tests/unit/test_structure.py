"""The structure of the packages and tests: the direction of imports, the length of modules, and names."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support.names import faults, names_of_tests

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

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
    """Return the dotted name of a module."""
    parts = path.relative_to(PACKAGES[package].parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    name_of(path, package): path
    for package, directory in PACKAGES.items()
    for path in sorted(directory.rglob("*.py"))
    if "project" not in path.parts
}


@cache
def trees() -> dict[str, ast.Module]:
    """Return the syntax trees of the modules, by name."""
    return {name: ast.parse(path.read_text(encoding="utf-8"), str(path)) for name, path in MODULES.items()}


def imports_of(module: str) -> set[str]:
    """Return the modules of the project that a module imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(trees()[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inside & MODULES.keys()
            if inside - MODULES.keys():
                found.add(node.module)
    return found & MODULES.keys() - {module}


@cache
def imports() -> Graph:
    """Return what each module imports."""
    return {module: imports_of(module) for module in MODULES}


def rooms(package: str) -> Graph:
    """Return the folders and modules that lie directly in a package, and for each those that it imports."""

    def room(module: str) -> str:
        return ".".join(module.split(".")[:2])

    graph: dict[str, set[str]] = {}
    for module, imported in imports().items():
        if module.split(".")[0] == package:
            there = {room(each) for each in imported if each.split(".")[0] == package}
            graph.setdefault(room(module), set()).update(there - {room(module)})
    return graph


def floors(graph: Graph) -> int:
    """Return the length of the longest chain of imports."""
    height: dict[str, int] = {}
    for each in TopologicalSorter(graph).static_order():
        height[each] = 1 + max((height[below] for below in graph.get(each, ())), default=0)
    return max(height.values())


def imported_packages(module: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the top-level package of each import of a module, also inside functions."""
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
        TopologicalSorter(imports()).prepare()
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
        if ast.get_docstring(trees()[name]) != IMPORT_PATH:
            inside[path.parent] = inside.get(path.parent, 0) + 1
    assert {str(folder.relative_to(ROOT)): n for folder, n in inside.items() if n > MOST_MODULES} == {}


def test_class_names_are_unique() -> None:
    """Excepted are names that SDK 0.6.7 fixes, in `resonate.compat`, and `Meta`, which pynamodb asks of each model."""
    homes: dict[str, list[str]] = {}
    for module, tree in trees().items():
        if not module.startswith("resonate.compat"):
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef) and node.name != "Meta":
                    homes.setdefault(node.name, []).append(module)
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}


WRITERS = {
    "work": {"resonate.engine.attempts"},
    # The latter two build nodes.
    "node": {"resonate.engine.nodes", "resonate.engine.cancelling", "resonate.engine.conventions"},
    "coroutine": {"resonate.engine.cancelling", "resonate.engine.interpreter", "resonate.engine.issuing"},
    "replaying": {"resonate.engine.progress"},
}
"""The modules that assign attributes of what goes by this name, or the attribute of this name."""


@pytest.mark.parametrize("name", WRITERS)
def test_each_state_of_the_engine_has_one_owner(name: str) -> None:
    found: set[str] = set()
    for module, tree in trees().items():
        for node in ast.walk(tree) if module.startswith("resonate.") else ():
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                of = node.value.id if isinstance(node.value, ast.Name) else None
                if name == (node.attr if name == "replaying" else of):
                    found.add(module)
    assert found == WRITERS[name]


def names_in(path: Path) -> set[str]:
    """Return the classes, functions, methods (as `Class.method`) and constants that a module defines."""
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


TESTED_ELSEWHERE = {
    "resonate.compat.clocks": "sdk/test_compat.py",
    "resonate.compat.conventions": "sdk/test_compat.py",
    "resonate.compat.loggers": "sdk/test_compat.py",
    "resonate.compat.messages": "sdk/test_compat.py",
    "resonate.compat.protocols": "sdk/test_compat.py",
    "resonate.compat.results": "sdk/test_compat.py",
    "resonate.dependencies": "sdk/client/test_client.py",
    "resonate.engine.actions": "sdk/engine/test_interpreter.py",
    "resonate.engine.functions.attempt_log": "sdk/test_logs.py",
    "resonate.engine.issuing": "sdk/engine/test_interpreter.py",
    "resonate.client.cancellation": "sdk/engine/test_cancelling.py",
    "resonate.client.checks": "../project/test_mistakes.py",
    "resonate.engine.functions.current": "../project/test_mistakes.py",
    "resonate.engine.functions.places": "../project/test_mistakes.py",
    "resonate.errors.canceled": "sdk/engine/test_cancelling.py",
    "resonate.errors.mistakes": "../project/test_mistakes.py",
    "resonate.workflow.combining": "sdk/workflow/test_combinators.py",
    "resonate.workflow.composites.mapping": "sdk/engine/test_mapping.py",
    "resonate.payloads.readable": "infra/inspection/test_texts.py",
    "resonate.payloads.waits": "sdk/test_executions.py",
    "resonate_infra.cli.selection": "infra/cli/test_bulk.py",
    **dict.fromkeys(
        (f"resonate_infra.cli.doctor.{name}" for name in ("account", "findings", "local", "server", "stack", "table")),
        "infra/cli/test_doctor.py",
    ),
    "resonate_infra.triggers.errors": "infra/triggers/test_ids.py",
    "resonate_infra.triggers.sources": "infra/triggers/test_handlers.py",
    "resonate_store.documented": "../project/test_errors_page.py",
    "resonate_store.machine.executions": "../spec/test_corpus.py",
    "resonate_store.protocol.forms": "store/protocol/test_wire.py",
    "resonate_store.machine.suspensions": "../spec/test_rules_waiting.py",
    "resonate_store.model.execution_requests": "../spec/test_corpus.py",
    "resonate.client.messages": "sdk/test_messages.py",
    "resonate.client.scheduling": "sdk/test_schedules.py",
    "resonate.occurrences": "sdk/test_schedules.py",
    "resonate.engine.forks.plan": "sdk/operations/test_forking.py",
    "resonate.engine.forks.source": "sdk/operations/test_forking.py",
    "resonate_store.machine.checks.fields": "store/machine/test_validation.py",
    "resonate_store.machine.checks.schedules": "store/machine/test_validation.py",
    "resonate.engine.commands.messages": "sdk/test_messages.py",
    "resonate.testing.messages": "sdk/test_messages.py",
    "resonate.workflow.messages": "sdk/test_messages.py",
    "resonate.engine.progress": "sdk/engine/test_interpreter.py",
    "resonate.message_sources.source": "sdk/message_sources/test_poller.py",
    "resonate.process.interrupts": "../lambda_runtime/test_endings.py",
    "resonate.worker.resources": "sdk/process/test_runtime.py",
    "resonate.workflow.awaits": "sdk/worker/test_event_loop.py",
    "resonate_infra.cli.display": "infra/cli/commands/test_promises.py",
    "resonate_infra.cli.parameters": "infra/cli/test_application.py",
    "resonate_infra.conformance.script": "infra/conformance/test_reading.py",
    "resonate_infra.demo": "../project/test_extras.py",
    "resonate_infra.deployed.debugging": "../deployment/functions/test_debug_requests.py",
    "resonate_infra.console.notices": "infra/console/test_actions.py",
    "resonate_infra.console.visit": "infra/console/test_rendering.py",
    "resonate_infra.hosts": "infra/server/test_origins.py",
    "resonate_infra.inspection.descriptions": "infra/server/test_lambdas.py",
    "resonate_infra.inspection.exits": "infra/cli/test_application.py",
    "resonate_infra.inspection.session": "infra/cli/test_session.py",
    "resonate_infra.inspection.tree": "infra/cli/commands/test_tree.py",
    "resonate_infra.inspection.waiting": "infra/cli/test_waiting.py",
    "resonate_infra.json_types": "infra/conformance/test_reading.py",
    "resonate_infra.testing.moto.transport": "store/aws/test_clients.py",
    "resonate_infra.testing.template.deployment": "infra/testing/test_process.py",
    "resonate_store.aws.credentials": "store/aws/test_calls.py",
    "resonate_store.aws.dynamodb": "store/aws/test_clients.py",
    "resonate_store.aws.exchange": "store/aws/test_clients.py",
    "resonate_store.aws.http": "store/aws/test_connections.py",
    "resonate_store.aws.services": "store/aws/test_clients.py",
    "resonate_store.machine.draft": "../spec/test_rules_waiting.py",
    "resonate_store.machine.messages": "../spec/test_rules_messages.py",
    "resonate_store.machine.promises": "../spec/test_promises.py",
    "resonate_store.machine.schedules": "../spec/test_schedules.py",
    "resonate_store.machine.search": "../spec/test_search.py",
    "resonate_store.delivery.environment": "store/delivery/test_writer.py",
    "resonate_store.delivery.messages": "store/delivery/test_writer.py",
    "resonate_store.delivery.metrics": "sdk/aws_lambda/test_telemetry.py",
    "resonate_store.delivery.outlets": "store/test_interface.py",
    "resonate_store.delivery.sinks": "store/delivery/test_writer.py",
    "resonate_store.delivery.timers": "infra/effects/test_timers.py",
    "resonate_store.dynamo.maintenance": "store/dynamo/test_deletion.py",
    "resonate_store.machine.generations": "../spec/test_generations.py",
    "resonate_store.machine.tasks": "../spec/test_tasks.py",
    "resonate_store.model.message_requests": "../spec/test_rules_messages.py",
    "resonate_store.model.schedule_requests": "../spec/test_schedules.py",
    "resonate_store.parallel": "store/dynamo/test_deletion.py",
    "resonate_store.machine.wake": "../spec/test_rules_deadlines.py",
    "resonate_store.model.requests": "store/protocol/test_wire.py",
    "resonate_store.server_clock": "sdk/test_server_time.py",
}
"""The modules without a test module of their own, and where each is tested (relative to this folder)."""


def has_test_module(module: str) -> bool:
    """Return whether `unit` has the test module of this module, in its folder or in its room."""
    package, *folders, name = module.split(".")
    top = HERE / {"resonate": "sdk", "resonate_store": "store", "resonate_infra": "infra"}[package]
    return any(top.joinpath(*at, f"test_{name.strip('_')}.py").exists() for at in (folders, folders[:1]))


def test_each_module_with_code_has_its_test_module() -> None:
    with_code = {
        name
        for name, path in MODULES.items()
        if path.stem != "__init__"
        if any(isinstance(node, ast.ClassDef | ast.FunctionDef) for node in ast.walk(trees()[name]))
    }
    assert {name for name in with_code if not has_test_module(name)} == TESTED_ELSEWHERE.keys()
    assert [place for place in TESTED_ELSEWHERE.values() if not (HERE / place).exists()] == []


def test_test_names_keep_the_rules() -> None:
    assert {name: found for name in names_of_tests() if (found := list(faults(name)))} == {}


@cache
def trees_of_tests() -> dict[Path, ast.Module]:
    """Return the syntax trees of the tests, by file."""
    files = sorted(path for path in HERE.parent.rglob("*.py") if "node_modules" not in path.parts)
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in files}


LIBRARIES = {
    *("_replace", "_make_env_vars", "_messages"),
    *("_THROTTLED_ERROR_CODES", "_TRANSIENT_ERROR_CODES", "_TRANSIENT_STATUS_CODES"),
    *("_RETRY_COST", "_THROTTLING_RETRY_COST"),
}
"""Attributes of libraries: of named tuples, of SAM, of moto and of botocore."""


def test_test_modules_import_no_test_module() -> None:
    found = [
        path.name
        for path, tree in trees_of_tests().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for name in (*str(node.module).split("."), *(alias.name for alias in node.names))
        if name.startswith("test_")
    ]

    assert found == []


def test_tests_read_no_private_attribute_of_the_product() -> None:
    """A test may read its own ones, and a subclass those of its base class."""
    found: list[str] = []
    for path, tree in trees_of_tests().items():
        nodes = list(ast.walk(tree))
        own = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
        own |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)} | LIBRARIES
        for node in nodes:
            if not isinstance(node, ast.Attribute) or ast.unparse(node.value) in ("self", "cls", "super()"):
                continue
            if node.attr.startswith("_") and not node.attr.endswith("__") and node.attr not in own:
                found.append(f"{path.name}:{node.lineno} {node.attr}")

    assert found == []
