"""What SAM gives functions as their environment, for `sam local` but for Docker.

    python local_environment.py TEMPLATE ENV_VARS PARAMETERS

Run by the Python of the SAM command line. `PARAMETERS` is a JSON list of objects, each with the parameters of one
command. Prints a JSON list with an object for each: the variables of every function, by its logical id.
SAM evaluates conditions and references by itself here, without CloudFormation, and not as CloudFormation does.
"""

import json
import sys
from types import SimpleNamespace

from samcli.commands.local.cli_common.invoke_context import InvokeContext
from samcli.commands.local.lib.local_lambda import LocalLambdaRunner


class Context(InvokeContext):
    """That of `sam local start-api`, which is for all functions of the template."""

    @staticmethod
    def _get_container_manager(*_: object) -> SimpleNamespace:
        return SimpleNamespace(is_docker_reachable=True)

    def variables(self) -> dict[str, dict[str, str]]:
        runner = LocalLambdaRunner(
            local_runtime=None,
            function_provider=self._function_provider,
            cwd=".",
            real_path=".",
            env_vars_values=self._env_vars_value,
        )
        functions = self._function_provider.get_all()
        return {each.name: runner._make_env_vars(each).resolve() for each in functions}


def main() -> None:
    template, env_vars, parameters = sys.argv[1:]
    found: list[dict[str, dict[str, str]]] = []
    for overrides in json.loads(parameters):
        with Context(template_file=template, env_vars_file=env_vars, parameter_overrides=overrides) as context:
            found.append(context.variables())
    print(json.dumps(found))


if __name__ == "__main__":
    main()
