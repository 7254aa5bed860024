"""Descriptions of registered functions, with a JSON schema of their arguments.

A worker sends them to the server when its stream opens, and a Lambda handler answers a `describe` event with them. The
console makes a form of it (docs/console.md).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypedDict

import msgspec

from resonate.payloads.restore import Doubtful
from resonate.workflow.callables import core_of
from resonate.workflow.registry import Registry
from resonate.workflow.signatures import ADAPTED, Adapted, Signature, signature_of

MOST_FUNCTIONS = 500
"""Maximum number of functions that one process describes."""
MOST_DOC_CHARS = 2_000
"""Maximum length of a docstring in a description."""
MOST_SCHEMA_BYTES = 16 * 1024
"""Maximum size of the schema of one function. A larger one is left out."""


class FunctionDescription(TypedDict):
    """Description of one function.

    `versions` are the registered versions, and the rest describes the highest one. `schema` is a JSON schema of its
    arguments by name, as an object. `positional` are the parameters that can be given only by position.
    """

    name: str
    versions: list[int]
    doc: str
    schema: dict[str, Any]
    positional: list[str]


def descriptions_of(registry: Registry) -> list[FunctionDescription]:
    """Return the descriptions of the functions of a registry, by name."""
    return [_described(registry, name) for name in registry.names()[:MOST_FUNCTIONS]]


def _described(registry: Registry, name: str) -> FunctionDescription:
    func = registry.get(name).func
    adapted: Adapted | None = getattr(func, ADAPTED, None)
    callable_ = func if adapted is None else adapted.func
    schema, positional = _schema_of(func, callable_)
    return {
        "name": name,
        "versions": registry.versions(name),
        "doc": (inspect.getdoc(core_of(callable_).func) or "")[:MOST_DOC_CHARS],
        "schema": schema,
        "positional": positional,
    }


def _schema_of(func: Callable[..., Any], given: Callable[..., Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the schema of the arguments of a function, and the names that can be given only by position."""
    signature = signature_of(func)
    parameters = list(inspect.signature(given).parameters.values())
    schema: dict[str, Any] = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    positional: list[str] = []
    definitions: dict[str, Any] = {}
    for parameter in parameters[1:]:  # the first one is the context
        if parameter.kind is parameter.VAR_POSITIONAL:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            schema["additionalProperties"] = True
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(parameter.name)
        of_type, defined = _schema_of_type(_annotation(signature, parameter.name))
        definitions |= defined
        if parameter.default is parameter.empty:
            schema["required"].append(parameter.name)
        else:
            of_type = {**of_type, **_default(parameter.default)}
        schema["properties"][parameter.name] = of_type
    if definitions:
        schema["$defs"] = definitions
    if len(msgspec.json.encode(schema)) > MOST_SCHEMA_BYTES:
        schema = {
            "type": "object",
            "properties": {name: {} for name in schema["properties"]},
            "required": schema["required"],
        }
    return schema, positional


def _annotation(signature: Signature, name: str) -> Any:
    positional = dict(zip(signature.names, signature.positional, strict=False))
    annotation = positional.get(name, signature.named.get(name, Any))
    return annotation.annotation if type(annotation) is Doubtful else annotation


def _schema_of_type(annotation: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the JSON schema of a type, and the definitions that it refers to. A type without a schema allows all."""
    try:
        if hasattr(annotation, "model_json_schema"):  # a pydantic model
            schema: dict[str, Any] = annotation.model_json_schema(ref_template="#/$defs/{model}")
            return schema, schema.pop("$defs", {})
        (schema,), definitions = msgspec.json.schema_components([annotation], ref_template="#/$defs/{name}")
        return dict(schema), dict(definitions)
    except Exception:  # a type of the user's may raise anything
        return {}, {}


def _default(value: Any) -> dict[str, Any]:
    try:
        return {"default": msgspec.to_builtins(value)}
    except Exception:
        return {}
