"""The template that is shipped, with its references spelled out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse  # pyright: ignore[reportUnknownVariableType]

from resonate_infra.testing.template.template import Fragment, Resolver, Resource, Template, TemplateStack, load

ROOT = Path(__file__).parents[2]
STACK = TemplateStack("shop", region="eu-central-1", account_id="111122223333")
ATTRIBUTES = ("Arn", "StreamArn", "QueueName", "FunctionUrl", "Version")


@cache
def document() -> Fragment:
    """Return the template as it is written."""
    return yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))


@cache
def shipped(**parameters: str | int) -> Template:
    """Return the transformed template with these parameters."""
    return load(ROOT / "template.yaml", stack=STACK, parameters=parameters)


@cache
def properties(**parameters: str | int) -> dict[str, Fragment]:
    """Return the properties of each resource with these parameters."""
    return spelled_out(shipped(**parameters))


def spelled_out(template: Template) -> dict[str, Fragment]:
    """Return the properties of each resource. `X` replaces a reference to X, and `X.Arn` its attribute."""
    resolver = Resolver(template)
    for resource in template.resources:
        attributes = {name: f"{resource.logical_id}.{name}" for name in ATTRIBUTES}
        resolver.register(resource.logical_id, resource.logical_id, attributes)
    return {resource.logical_id: resolver.resolve(resource.properties) for resource in template.resources}


def of_type(type: str, **parameters: str | int) -> dict[str, Resource]:
    """Return the resources of a type, by logical id. `type` is without `AWS::`."""
    return {each.logical_id: each for each in shipped(**parameters).resources if each.type == f"AWS::{type}"}


def variable(name: str, **parameters: str | int) -> dict[str, str]:
    """Return the value of an environment variable for each function that has it."""
    found = {
        function: each["Environment"]["Variables"]
        for function, each in properties(**parameters).items()
        if "Environment" in each
    }
    return {function: variables[name] for function, variables in found.items() if name in variables}


def statements(properties: dict[str, Fragment], role: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each action that a role allows, with the resources that it allows the action on."""
    for policy in properties[role]["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            actions, resources = statement["Action"], statement["Resource"]
            for action in [actions] if isinstance(actions, str) else actions:
                yield action, [resources] if isinstance(resources, str) else resources
