"""Mocks: functions of a test in place of programs that are not part of the deployment.

Each mocked target is a Lambda function that moto does not know. The stack checks for mocks before it invokes a function
of the deployment. If the target is a group, the deployed functions must know the group too. They read their groups when
they are loaded. So they get a new environment, and their processes are discarded.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from resonate.aws_lambda.handler import LambdaHandler
from resonate.testing.functions import stub_of
from resonate.workflow.registry import Registry
from resonate_infra.testing.moto.cloud import Cloud
from resonate_infra.testing.process import Processes
from resonate_infra.testing.template.deployment import Deployment, TemplateFunction
from resonate_store.interface import Store
from resonate_store.model.clock import Clock
from resonate_store.settings import groups_of


class Mocks:
    """Mocks of one deployed stack.

    Args:
        cloud: knows which function has which name.
        deployment: its functions get the mocked groups.
        processes: the loaded functions.
    """

    def __init__(self, cloud: Cloud, deployment: Deployment, processes: Processes) -> None:
        self._cloud = cloud
        self._deployment = deployment
        self._processes = processes
        self._registries: dict[str, Registry] = {}
        self._unmocked: dict[str, TemplateFunction] = {}

    def __contains__(self, function: str) -> bool:
        """Return whether the Lambda function with this name is a mock."""
        return function in self._registries

    def add(self, name: str, function: Callable[..., Any], target: str | None, version: int) -> bool:
        """Answer the calls of a function at a target with `function`.

        Args:
            name, version: the name and version under which it is called.
            function: called with the arguments of a call, without a context.
            target: a worker group, or the address of a Lambda function.

        Returns:
            Whether the environment of the functions has changed. Objects made from it must then be created again.

        Raises:
            ValueError: the target is missing, or is neither a group nor a Lambda function.
        """
        if target is None:
            raise ValueError(f"name the target of {name}: without one the worker calls its own function")
        address = f"lambda://mock-{target}" if "://" not in target else target
        if not address.startswith("lambda://"):
            raise ValueError(f"a mock is a group or a Lambda function, and {target!r} is neither")
        lambda_name = address.removeprefix("lambda://")

        self._registries.setdefault(lambda_name, Registry()).add(stub_of(function), name, version)
        self._cloud.functions = {**self._cloud.functions, lambda_name: lambda_name}
        if address == target:
            return False
        self._route(target, address)
        return True

    def invoke(self, name: str, event: Any, store: Store, clock: Clock) -> Any:
        """Invoke a mock in place of its Lambda function."""
        handler = LambdaHandler(store, self._registries[name], {}, clock, name)
        return handler(event, None)

    def clear(self) -> None:
        """Remove all mocks, and restore the deployed functions."""
        functions = self._cloud.functions
        self._cloud.functions = {key: name for key, name in functions.items() if key not in self._registries}
        self._registries.clear()
        if self._unmocked:
            self._deployment.functions.update(self._unmocked)
            self._unmocked.clear()
            self._processes.forget_all()

    def _route(self, group: str, address: str) -> None:
        """Add a group to the environment of all functions, and discard their processes."""
        for name, function in self._deployment.functions.items():
            self._unmocked.setdefault(name, function)
            groups = {**(groups_of(function.environment) or {}), group: address}
            environment = {**function.environment, "RESONATE_GROUPS": json.dumps(groups)}
            self._deployment.functions[name] = replace(function, environment=environment)
        self._processes.forget_all()
