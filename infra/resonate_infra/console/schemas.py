"""Fields of a form, from the JSON schema of a function's arguments."""

from __future__ import annotations

import json
from typing import Any, Literal

from msgspec import Struct

from resonate_infra.json_types import is_list, is_object

MOST_NAMES = 20
"""Maximum number of names of an object that a hint has."""

FieldKind = Literal["string", "integer", "number", "boolean", "choice", "json"]


class Field(Struct, frozen=True):
    """A field of a form.

    Attributes:
        name: the parameter.
        kind: what a user gives: a text as it is, a number, yes or no, one of `choices`, or JSON.
        required: whether the parameter has no default.
        positional: whether it can be given only by position.
        default: its default as text.
        choices: the values of an enumeration, as JSON.
        hint: the type in words.
    """

    name: str
    kind: FieldKind
    required: bool = True
    positional: bool = False
    default: str = ""
    choices: tuple[str, ...] = ()
    hint: str = ""


def described(function: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a function with all of its parts. A worker can announce anything."""
    doc, versions, positional = (function.get(name) for name in ("doc", "versions", "positional"))
    return {
        "name": str(function.get("name", "")),
        "doc": doc if isinstance(doc, str) else "",
        "versions": [each for each in versions if type(each) is int] if is_list(versions) else [],
        "schema": function.get("schema"),
        "positional": positional if is_list(positional) else [],
    }


def fields_of(function: dict[str, Any]) -> list[Field]:
    """Return the fields for the arguments of a function, from its description."""
    schema = function.get("schema")
    if not is_object(schema):
        return []
    properties, required = schema.get("properties"), schema.get("required")
    names: Any = required if is_list(required) else []
    positional = described(function)["positional"]
    definitions = schema.get("$defs")
    if not is_object(properties):
        return []
    return [
        _field(name, each if is_object(each) else {}, name in names, name in positional, definitions)
        for name, each in properties.items()
    ]


def _field(name: str, schema: dict[str, Any], required: bool, positional: bool, definitions: Any) -> Field:
    default = schema.get("default")
    resolved = _resolved(schema, definitions)
    choices = resolved.get("enum")
    kind: FieldKind = "json"
    if is_list(choices):
        given = tuple(json.dumps(each, ensure_ascii=False) for each in choices)
        default_text = json.dumps(default, ensure_ascii=False) if "default" in schema else ""
        return Field(name, "choice", required, positional, default_text, given, "one of these")
    match resolved.get("type"):
        case "string":
            kind = "string"
        case "integer":
            kind = "integer"
        case "number":
            kind = "number"
        case "boolean":
            kind = "boolean"
        case _:
            pass
    text = ""
    if "default" in schema:
        text = default if kind == "string" and isinstance(default, str) else json.dumps(default, ensure_ascii=False)
    return Field(name, kind, required, positional, text, (), _hint(resolved, kind))


def _resolved(schema: dict[str, Any], definitions: Any) -> dict[str, Any]:
    """Return the schema that a reference names."""
    reference = schema.get("$ref")
    if isinstance(reference, str) and is_object(definitions):
        found = definitions.get(reference.rpartition("/")[2])
        return found if is_object(found) else schema
    return schema


def _hint(schema: dict[str, Any], kind: FieldKind) -> str:
    form = schema.get("format")
    if kind == "string":
        return f"text ({form})" if isinstance(form, str) else "text"
    if kind != "json":
        return {"integer": "a whole number", "number": "a number", "boolean": "yes or no"}.get(kind, "")
    properties = schema.get("properties")
    if is_object(properties):
        return "JSON, an object with " + ", ".join(list(properties)[:MOST_NAMES])
    return {"array": "JSON, an array", "object": "JSON, an object"}.get(str(schema.get("type")), "JSON")
