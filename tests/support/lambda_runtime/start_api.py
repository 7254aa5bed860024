"""`sam local start-api` but for Docker: SAM's own gateway, with what a container would do done by an emulator.

    python start_api.py TEMPLATE PORT FUNCTION=URL ...

Run by the Python of the SAM command line. SAM reads the template, mounts its routes and makes events of requests; each
goes to the emulator of its function, by the logical id.
"""

import sys
import urllib.request
from types import SimpleNamespace
from typing import Any

from samcli.commands.local.lib.local_api_service import LocalApiService
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider


class Runner:
    """Invokes functions at URLs, as SAM's runner does in containers."""

    def __init__(self, urls: dict[str, str]) -> None:
        self._urls = urls

    def is_debugging(self) -> bool:
        return False

    def invoke(self, function: str, event: str, *, stdout: Any, **_: Any) -> None:
        request = urllib.request.Request(self._urls[function], event.encode())
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as response:
            stdout.write_str(response.read().decode())


def main() -> None:
    template, port, *functions = sys.argv[1:]
    stacks, _ = SamLocalStackProvider.get_stacks(template)
    runner = Runner(dict(each.split("=", 1) for each in functions))
    context = SimpleNamespace(get_cwd=lambda: ".", stacks=stacks, local_lambda_runner=runner, stderr=None)
    LocalApiService(context, int(port), "127.0.0.1", None, False, None).start()


if __name__ == "__main__":
    main()
