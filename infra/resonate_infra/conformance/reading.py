"""Parser of script files: YAML with placeholders."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import yaml

from resonate_infra.conformance.script import (
    Any_,
    At,
    Each,
    Has,
    Keep,
    Kept,
    Long,
    Now,
    Number,
    Script,
    Step,
    Text,
)
from resonate_infra.json_types import is_list, is_object
from resonate_infra.yaml_loader import SafeLoader

OPTIONS = ("follow", "times")


class ScriptError(ValueError):
    """A file is not a list of valid scripts. The message names the file, the line and the fault."""


_PLACEHOLDERS: dict[str, Callable[[str], Any]] = {
    "any": lambda _: Any_(),
    "text": Text,
    "number": lambda _: Number(),
    "now": lambda _: Now(),
    "at": lambda text: At(int(text)),
    "keep": Keep,
    "kept": Kept,
    "long": lambda text: Long(int(text)),
}
_PLACEHOLDER = re.compile(rf"<({'|'.join(_PLACEHOLDERS)})(?: (.*))?>", re.DOTALL)


class _Loader(SafeLoader):
    """YAML loader with the tags of `Has` and `Each` only. It ignores tags that libraries add to `SafeLoader`."""


_Loader.yaml_multi_constructors = {}


def _has(loader: _Loader, node: yaml.MappingNode) -> Has:
    return Has(cast("dict[str, Any]", loader.construct_mapping(node, deep=True)))


def _each(loader: _Loader, node: yaml.MappingNode) -> Each:
    keys = loader.construct_mapping(node, deep=True)
    if keys.keys() != {"times", "of"}:
        raise yaml.MarkedYAMLError(problem="!each needs times and of", problem_mark=node.start_mark)
    return Each(keys["times"], keys["of"])


_Loader.add_constructor("!has", _has)
_Loader.add_constructor("!each", _each)


def _read(value: Any, key: Any = None) -> Any:
    """Return `value` with placeholders parsed. Texts of `resonate:` tags stay texts."""
    match value:
        case str() if not str(key).startswith("resonate:") and (found := _PLACEHOLDER.fullmatch(value)):
            return _PLACEHOLDERS[found[1]](found[2] or "")
        case _ if is_object(value):
            return {name: _read(each, name) for name, each in value.items()}
        case _ if is_list(value):
            return [_read(each) for each in value]
        case Has(keys):
            return Has(_read(keys))
        case Each(times, of):
            return Each(times, _read(of))
        case _:
            return value


def corpus() -> list[Path]:
    """Return the script files of this package."""
    return sorted((Path(__file__).parent / "corpus").glob("*.yaml"))


def load(path: Path) -> list[Script]:
    """Return the scripts of a file.

    Raises:
        ScriptError: the file cannot be read, or a script in it is invalid.
    """
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        untyped: Any = loader
        try:
            root = loader.get_single_node()
            documents = None if root is None else untyped.construct_document(root)
        finally:
            untyped.dispose()
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise ScriptError(f"{path}: {error}") from error
    if not is_list(documents) or not isinstance(root, yaml.SequenceNode):
        raise ScriptError(f"{path}: it must be a list of scripts")
    return [_script(path.name, node, document) for node, document in zip(root.value, documents, strict=True)]


def _script(file: str, node: yaml.Node, document: Any) -> Script:
    line = node.start_mark.line + 1
    if not is_object(document) or not isinstance(node, yaml.MappingNode):
        raise ScriptError(f"{file}:{line}: a script is a mapping")
    keys = dict(document)
    title, covers, steps = keys.pop("title", None), keys.pop("covers", None), keys.pop("steps", None)
    differs, debug = keys.pop("differs", None), keys.pop("debug", None)
    if not (isinstance(title, str) and is_list(covers) and covers and is_list(steps) and steps):
        raise ScriptError(f"{file}:{line}: a script has a title, a list of what it covers, and a list of steps")
    if keys:
        raise ScriptError(f"{file}:{line}: unknown keys: {', '.join(map(str, keys))}")
    (nodes,) = (value for key, value in node.value if key.value == "steps")
    parsed = tuple(_step(file, each.start_mark.line + 1, step) for each, step in zip(nodes.value, steps, strict=True))
    if debug is None and any(_drives(step) for step in parsed):
        debug = True
    return Script(
        file=file, line=line, title=title, covers=tuple(map(str, covers)), steps=parsed, differs=differs, debug=debug
    )


def _drives(step: Step) -> bool:
    return step.command in ("clock", "tick", "messages") or step.command.startswith("debug.")


def _step(file: str, line: int, document: Any) -> Step:
    if not is_object(document):
        raise ScriptError(f"{file}:{line}: a step is a mapping")
    keys: dict[Any, Any] = dict(document)
    options = {name: keys.pop(name) for name in OPTIONS if name in keys}
    statuses = [key for key in keys if isinstance(key, int)]
    commands = [key for key in keys if isinstance(key, str)]
    if len(commands) != 1 or len(statuses) > 1 or len(keys) != len(commands) + len(statuses):
        raise ScriptError(f"{file}:{line}: a step is one request or command, and a request has one status")
    command = commands[0]
    try:
        given = _read(keys[command])
        expected = _read(keys[statuses[0]]) if statuses else None
    except ValueError as error:
        raise ScriptError(f"{file}:{line}: {error}") from error
    if command in ("clock", "tick", "messages"):
        if statuses:
            raise ScriptError(f"{file}:{line}: {command} has no status")
        return Step(line=line, command=command, given=given)
    if not statuses:
        raise ScriptError(f"{file}:{line}: which status answers {command}?")
    return Step(line=line, command=command, given=given, status=statuses[0], expected=expected, **options)
