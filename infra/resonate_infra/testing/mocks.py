"""Functions of programs that are not part of the deployment, which a test stands in for.

Each target that is mocked is a Lambda function that moto need not know of: whoever invokes the functions of the stack
asks here first. A target that is a group has to be known to the deployed functions, too. They read their groups when
they are loaded, so then they are deployed anew, and everything that is loaded is forgotten.
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
    """The mocks of one deployed stack.

    Args:
        cloud: where functions are found by name.
        deployment: its functions learn of the groups that are mocked.
        processes: what has loaded the functions.
    """

    def __init__(self, cloud: Cloud, deployment: Deployment, processes: Processes) -> None:
        self._cloud = cloud
        self._deployment = deployment
        self._processes = processes
        self._registries: dict[str, Registry] = {}
        self._unmocked: dict[str, TemplateFunction] = {}

    def __contains__(self, function: str) -> bool:
        """Whether a Lambda function, by name, is a mock."""
        return function in self._registries

    def add(self, name: str, function: Callable[..., Any], target: str | None, version: int) -> bool:
        """Have calls of a function at a target answered by `function`.

        Returns:
            Whether the environment of the functions has changed: what was made from it has to be made anew.

        Raises:
            ValueError: there is no target, or it is neither a group nor a Lambda function.
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
        """Invoke a mock as the Lambda function that it stands for."""
        handler = LambdaHandler(store, self._registries[name], {}, clock, name)
        return handler(event, None)

    def clear(self) -> None:
        """Forget all mocks, and have the functions as they were deployed."""
        functions = self._cloud.functions
        self._cloud.functions = {key: name for key, name in functions.items() if key not in self._registries}
        self._registries.clear()
        if self._unmocked:
            self._deployment.functions.update(self._unmocked)
            self._unmocked.clear()
            self._processes.forget_all()

    def _route(self, group: str, address: str) -> None:
        """Deploy the functions anew, with a group more."""
        for name, function in self._deployment.functions.items():
            self._unmocked.setdefault(name, function)
            groups = {**(groups_of(function.environment) or {}), group: address}
            environment = {**function.environment, "RESONATE_GROUPS": json.dumps(groups)}
            self._deployment.functions[name] = replace(function, environment=environment)
        self._processes.forget_all()
