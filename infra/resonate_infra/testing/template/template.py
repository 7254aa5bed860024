"""Parser of `template.yaml`. As in CloudFormation, the SAM transform comes first, then parameters and references.

The offline stack comes from the template that is deployed, so this module does not depend on its content. SAM's own
translator does the transform. This module does what CloudFormation does afterwards: parameters with their constraints,
conditions, mappings, intrinsic functions, and the order of creation. It supports only what the template needs. Anything
else raises an error that names it, because a silent approximation would test another deployment than the shipped one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, TypeAlias

import boto3
import yaml
from samtranslator.parser.parser import Parser  # pyright: ignore[reportMissingTypeStubs]
from samtranslator.translator.translator import Translator  # pyright: ignore[reportMissingTypeStubs]
from samtranslator.yaml_helper import (  # pyright: ignore[reportMissingTypeStubs]
    intrinsics_multi_constructor,  # pyright: ignore[reportUnknownVariableType]
)

from resonate_infra.yaml_loader import SafeLoader

Fragment: TypeAlias = dict[str, Any]
"""A part of a template, as the YAML parser returns it."""

RESOURCE_KEYS = frozenset(
    {"Type", "Properties", "Condition", "DependsOn", "Metadata", "DeletionPolicy", "UpdateReplacePolicy"}
)
"""Keys that a resource may have. The last three concern deployments and have no effect offline."""

CODE_KEYS = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}

JAVA_DOT = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\.", re.DOTALL)
"""Matches an escape, a character class, or a dot outside both."""
SUBSTITUTION = re.compile(r"\$\{([^}]*)\}")
NO_VALUE = object()

# SAM warns that a feature of AWS's own service is turned off.
logging.getLogger("samtranslator.feature_toggle").setLevel(logging.ERROR)


class _TemplateLoader(SafeLoader):
    """YAML loader with the intrinsic functions of CloudFormation."""


# PyYAML has no types.
_TemplateLoader.add_multi_constructor("!", intrinsics_multi_constructor)  # pyright: ignore[reportUnknownMemberType]


class TemplateError(Exception):
    """The template or a parameter is invalid, or not supported offline."""


class ParameterError(TemplateError):
    """CloudFormation would refuse this parameter."""


class UnsupportedIntrinsicError(TemplateError):
    """The template uses an intrinsic function that is not resolved here."""


class UnresolvedReferenceError(TemplateError):
    """The template refers to something that does not exist, or is not created yet."""


@dataclass(frozen=True, slots=True)
class TemplateStack:
    """Name and place of a stack. The defaults are those of moto."""

    name: str
    region: str = "us-east-1"
    account_id: str = "123456789012"
    partition: str = "aws"

    def arn(self, service: str, resource: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{self.account_id}:{resource}"

    @property
    def pseudo_parameters(self) -> dict[str, Any]:
        return {
            "AWS::StackName": self.name,
            "AWS::Region": self.region,
            "AWS::AccountId": self.account_id,
            "AWS::Partition": self.partition,
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::NoValue": NO_VALUE,
        }


@dataclass(frozen=True, slots=True)
class Resource:
    """Resource after the transform, with unresolved references."""

    logical_id: str
    type: str
    properties: Fragment
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """Transformed template. Each resource refers only to earlier resources.

    `code_directories` maps functions and layers to the folders that SAM would package for them.
    """

    stack: TemplateStack
    parameters: dict[str, str]
    mappings: Fragment
    conditions: Fragment
    resources: tuple[Resource, ...]
    outputs: Fragment
    code_directories: dict[str, Path]


def default_template() -> Path:
    """Return `template.yaml` of the working directory if it creates a table, otherwise that of Resonate Serverless.

    A project that uses the table of a deployment has a template without a table, which cannot run alone.
    """
    here = Path("template.yaml")
    if here.exists() and "AWS::DynamoDB::Table" in here.read_text(encoding="utf-8"):
        return here
    of_the_clone, of_the_package = Path(__file__).parents[4], Path(__file__).parents[2] / "bundled"
    return next(path for path in (of_the_clone, of_the_package) if (path / "functions").exists()) / "template.yaml"


def read(path: Path) -> Fragment:
    """Return a template as it is written."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_TemplateLoader)


def load(path: Path, *, stack: TemplateStack, parameters: Mapping[str, str | int] | None = None) -> Template:
    """Read and transform a template.

    Args:
        path: the file.
        stack: the name and place of the stack.
        parameters: values that override the defaults of the template's parameters.

    Raises:
        ParameterError: CloudFormation would refuse a parameter.
        TemplateError: the template is invalid, or not supported.
    """
    document = read(path)
    values = _parameter_values(document.get("Parameters", {}), parameters or {})
    code_directories = _detach_code(document, path.parent)
    # SAM uses only the region of the session. Without a session it would search for a region on this machine.
    translator = Translator(None, Parser(), boto_session=boto3.Session(region_name=stack.region))
    transformed: Fragment = translator.translate(document, dict(values))
    # The metrics are sent nowhere. But SAM logs a warning if unpublished metrics are garbage-collected.
    translator.metrics.publish()
    return Template(
        stack=stack,
        parameters=values,
        mappings=transformed.get("Mappings", {}),
        conditions=transformed.get("Conditions", {}),
        resources=_in_creation_order(transformed["Resources"]),
        outputs=transformed.get("Outputs", {}),
        code_directories=code_directories,
    )


def _detach_code(document: Fragment, root: Path) -> dict[str, Path]:
    """Replace local folders with S3 locations, as `sam package` does, because the transform needs them.

    Return the folders by logical id.
    """
    directories: dict[str, Path] = {}
    for logical_id, resource in document["Resources"].items():
        key = CODE_KEYS.get(resource["Type"])
        if key is not None:
            properties = resource["Properties"]
            directories[logical_id] = (root / properties[key]).resolve()
            properties[key] = f"s3://packaged/{logical_id}"
    return directories


# --- Parameters


def _parameter_values(declared: Fragment, given: Mapping[str, str | int]) -> dict[str, str]:
    unknown = sorted(set(given) - set(declared))
    if unknown:
        raise ParameterError(f"the template has no parameter {', '.join(unknown)}")
    values: dict[str, str] = {}
    for name, declaration in declared.items():
        if name not in given and "Default" not in declaration:
            raise ParameterError(f"parameter {name} has no default and needs a value")
        values[name] = str(given.get(name, declaration.get("Default")))
        _check_parameter(name, values[name], declaration)
    return values


def _check_parameter(name: str, value: str, declaration: Fragment) -> None:
    kind = declaration["Type"]
    if kind not in ("String", "Number"):
        raise ParameterError(f"parameter {name} is of type {kind}; only String and Number are supported")
    allowed = [str(choice) for choice in declaration.get("AllowedValues", [value])]
    if value not in allowed:
        raise ParameterError(f"parameter {name} is {value!r}; allowed are {', '.join(allowed)}")
    if "AllowedPattern" in declaration and not _as_java(declaration["AllowedPattern"]).fullmatch(value):
        raise ParameterError(f"parameter {name} is {value!r}, which does not match its AllowedPattern")
    if kind == "Number":
        try:
            number = float(value)
        except ValueError:
            raise ParameterError(f"parameter {name} is {value!r}, not a number") from None
        low, high = declaration.get("MinValue", number), declaration.get("MaxValue", number)
        if not low <= number <= high:
            raise ParameterError(f"parameter {name} is {value}; it must be from {low} to {high}")


def _as_java(pattern: str) -> re.Pattern[str]:
    """Compile an AllowedPattern as CloudFormation does, as a regular expression of Java.

    In Java a dot matches no line terminator, and there are more of them than in Python. Classes such as \\s are ASCII.
    """
    return re.compile(
        JAVA_DOT.sub(lambda found: r"[^\n\r\x85\u2028\u2029]" if found[0] == "." else found[0], pattern), re.ASCII
    )


# --- The order of creation


def _in_creation_order(resources: Fragment) -> tuple[Resource, ...]:
    graph: dict[str, list[str]] = {}
    for logical_id, resource in resources.items():
        unsupported = sorted(set(resource) - RESOURCE_KEYS)
        if unsupported:
            raise TemplateError(f"{logical_id}: unsupported resource attribute {', '.join(unsupported)}")
        # A set would have a random order. The order of creation must always be the same.
        names = dict.fromkeys(_references(resource.get("Properties", {})))
        if "DependsOn" in resource:
            names[resource["DependsOn"]] = None
        graph[logical_id] = [name for name in names if name in resources]
    try:
        order = tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise TemplateError(f"circular dependency: {' -> '.join(error.args[1])}") from error
    return tuple(
        Resource(
            logical_id,
            resources[logical_id]["Type"],
            resources[logical_id].get("Properties", {}),
            resources[logical_id].get("Condition"),
        )
        for logical_id in order
    )


def _references(value: Any) -> Iterator[str]:
    """Yield every name that `value` refers to: of resources, parameters and pseudo parameters."""
    match value:
        case {"Ref": str(name)}:
            yield name
        case {"Fn::GetAtt": [str(name), _]}:
            yield name
        case {"Fn::Sub": str(text)}:
            for name in SUBSTITUTION.findall(text):
                yield name.partition(".")[0]
        case {"Fn::Sub": [str(text), dict(variables)]}:  # pyright: ignore[reportUnknownVariableType]
            for name in SUBSTITUTION.findall(text):
                if name not in variables:
                    yield name.partition(".")[0]
            yield from _references(variables)
        case dict():
            for item in value.values():  # pyright: ignore[reportUnknownVariableType]
                yield from _references(item)
        case list():
            for item in value:  # pyright: ignore[reportUnknownVariableType]
                yield from _references(item)
        case _:
            pass


# --- References


@dataclass(slots=True)
class Resolver:
    """Resolver of intrinsic functions. It knows the resources that were created so far."""

    template: Template
    references: dict[str, Any] = field(default_factory=dict[str, Any])
    attributes: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])

    def __post_init__(self) -> None:
        self.references |= self.template.stack.pseudo_parameters | self.template.parameters

    def register(self, logical_id: str, reference: str, attributes: Mapping[str, str] | None = None) -> None:
        """Set what `Ref` and `Fn::GetAtt` return for a created resource."""
        self.references[logical_id] = reference
        for name, value in (attributes or {}).items():
            self.attributes[logical_id, name] = value

    def resolve(self, value: Any) -> Any:
        """Return `value` with every intrinsic function replaced by its result."""
        match value:
            case {"Ref": str(name)}:
                return self._reference(name)
            case {"Fn::GetAtt": [str(name), str(attribute)]}:
                return self._attribute(name, attribute)
            case {"Fn::Sub": str(text)}:
                return SUBSTITUTION.sub(self._substitute, text)
            case {"Fn::Sub": [str(text), dict(variables)]}:  # pyright: ignore[reportUnknownVariableType]
                own = self.resolve(variables)
                return SUBSTITUTION.sub(lambda found: own.get(found[1]) or self._substitute(found), text)
            case {"Fn::If": [str(condition), positive, negative]}:
                return self.resolve(positive if self.condition(condition) else negative)
            case {"Fn::FindInMap": [str(mapping), first, second]}:
                return self._find(mapping, self.resolve(first), self.resolve(second))
            case {"Fn::Equals": [left, right]}:
                return self.resolve(left) == self.resolve(right)
            case {"Fn::Not": [operand]}:
                return not self._holds(operand)
            case {"Fn::And": [*operands]}:
                return all(self._holds(operand) for operand in operands)
            case {"Fn::Or": [*operands]}:
                return any(self._holds(operand) for operand in operands)
            case dict():
                return self._resolve_mapping(value)  # pyright: ignore[reportUnknownArgumentType]
            case list():
                items = [self.resolve(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
                return [item for item in items if item is not NO_VALUE]
            case _:
                return value

    def condition(self, name: str) -> bool:
        """Return whether a condition of the template is true."""
        if name not in self.template.conditions:
            raise UnresolvedReferenceError(f"the template has no condition {name}")
        return self.resolve(self.template.conditions[name])

    def _holds(self, operand: Any) -> bool:
        """Return the value of an operand of a condition function: another function, or the name of a condition."""
        match operand:
            case {"Condition": str(name)}:
                return self.condition(name)
            case _:
                return self.resolve(operand)

    def _resolve_mapping(self, value: Fragment) -> Fragment:
        for key in value:
            # In a policy statement, Condition is a mapping. In CloudFormation it is a name.
            if key.startswith("Fn::") or key == "Ref" or (key == "Condition" and isinstance(value[key], str)):
                raise UnsupportedIntrinsicError(f"{key} of {value[key]!r} is not supported")
        items = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in items.items() if item is not NO_VALUE}

    def _find(self, mapping: str, first: str, second: str) -> Any:
        try:
            return self.template.mappings[mapping][first][second]
        except KeyError:
            raise UnresolvedReferenceError(f"mapping {mapping} has no {first}.{second}") from None

    def _substitute(self, match: re.Match[str]) -> str:
        if match[1].startswith("!"):
            raise UnsupportedIntrinsicError(f"Fn::Sub with the literal {match[0]} is not supported")
        name, dot, attribute = match[1].partition(".")
        return self._attribute(name, attribute) if dot else str(self._reference(name))

    def _reference(self, name: str) -> Any:
        if name not in self.references:
            raise UnresolvedReferenceError(f"Ref to {name}, which does not exist")
        return self.references[name]

    def _attribute(self, name: str, attribute: str) -> str:
        if (name, attribute) not in self.attributes:
            raise UnresolvedReferenceError(f"{name} has no attribute {attribute}")
        return self.attributes[name, attribute]
