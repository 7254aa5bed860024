"""Published versions of the functions of the offline stack, and the aliases that name them.

A function has versions if the template has an `AWS::Lambda::Version` for it. A version keeps the code of the instant at
which it was published. Unlike in Lambda, it has the present environment of its function.
"""

from __future__ import annotations

from dataclasses import replace

from resonate_infra.testing.moto.cloud import Cloud
from resonate_infra.testing.process import Processes
from resonate_infra.testing.template.deployment import Deployment, TemplateFunction


class Versions:
    """Versions and aliases of one deployed stack.

    Args:
        cloud: gets the names that can be invoked.
        deployment: the functions, and which of them have versions and aliases.
        processes: the loaded functions, which keep the code of each version.
    """

    def __init__(self, cloud: Cloud, deployment: Deployment, processes: Processes) -> None:
        self._cloud = cloud
        self._deployment = deployment
        self._processes = processes
        self._latest: dict[str, int] = {}
        self._existing: set[tuple[str, str]] = set()
        cloud.functions = {
            name: function.logical_id
            for function in deployment.functions.values()
            for name in (function.name, function.arn)
        }
        for logical_id in deployment.versioned:
            self.publish(logical_id)

    def publish(self, logical_id: str) -> str | None:
        """Publish the next version of a function, and move its aliases to it.

        Returns:
            The number of the version. None if the template has no version of the function.
        """
        if logical_id not in self._deployment.versioned:
            return None
        self._latest[logical_id] = self._latest.get(logical_id, 0) + 1
        version = str(self._latest[logical_id])
        self._existing.add((logical_id, version))
        self._processes.keep_code(self.find(f"{logical_id}:{version}"))
        for qualifier in (version, *self._deployment.aliases.get(logical_id, ())):
            self._name(logical_id, qualifier)
        return version

    def delete(self, logical_id: str, version: str) -> None:
        """Delete a version. Its function cannot be invoked by this name any more.

        Raises:
            KeyError: the version does not exist.
        """
        self._existing.remove((logical_id, version))
        function = self._deployment.functions[logical_id]
        gone = {f"{function.name}:{version}", f"{function.arn}:{version}"}
        self._cloud.functions = {name: key for name, key in self._cloud.functions.items() if name not in gone}

    def find(self, key: str) -> TemplateFunction:
        """Return a function by its logical id, also with a version or an alias: `WorkerFunction:live`.

        Raises:
            KeyError: the function or its version does not exist.
        """
        logical_id, colon, qualifier = key.partition(":")
        function = self._deployment.functions[logical_id]
        if not colon:
            return function
        version = (
            str(self._latest[logical_id]) if qualifier in self._deployment.aliases.get(logical_id, ()) else qualifier
        )
        if (logical_id, version) not in self._existing:
            raise KeyError(key)
        return replace(function, arn=f"{function.arn}:{qualifier}", version=version)

    def _name(self, logical_id: str, qualifier: str) -> None:
        function = self._deployment.functions[logical_id]
        names = (f"{function.name}:{qualifier}", f"{function.arn}:{qualifier}")
        self._cloud.functions = {**self._cloud.functions, **dict.fromkeys(names, f"{logical_id}:{qualifier}")}
