"""Lambda handlers in the real Python runtime: `awslambdaric` under AWS's runtime interface emulator.

Slower than calling a handler, and the only way to see what Lambda adds: a process that is reused, timed out
and killed, an event and a result that cross a wire, and the errors that the runtime itself reports.
"""

import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.support.ports import free_ports, is_open

_ARCHITECTURES = {"aarch64": "arm64", "arm64": "arm64", "x86_64": "x86_64"}
_INVOCATION_PATH = "/2015-03-31/functions/function/invocations"
# Lambda's name for it; the emulator answers with a sentence.
_TIMED_OUT = "Sandbox.Timedout"
_POLL_SECONDS = 0.02
_STARTUP_SECONDS = 10.0
_STARTUP_ATTEMPTS = 3
# Beyond the function's own timeout, which the emulator enforces: what a cold start may take.
_INVOCATION_SLACK_SECONDS = 60.0

# Never through a proxy: the emulator is on this machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _emulator_binary() -> Path | None:
    """The emulator in the SAM command line's wheel, which the Makefile installs inside this environment."""
    if sys.platform != "linux" or platform.machine() not in _ARCHITECTURES:
        return None
    name = f"aws-lambda-rie-{_ARCHITECTURES[platform.machine()]}"
    found = Path(sys.prefix).glob(f"tools/lib/python*/site-packages/samcli/local/rapid/{name}")
    return next(found, None)


def _missing() -> str | None:
    if _emulator_binary() is None:
        return "the Lambda runtime interface emulator is missing: `make lint` installs aws-sam-cli, which has it"
    if importlib.util.find_spec("awslambdaric") is None:
        return "the Lambda runtime interface client is missing: install awslambdaric"
    return None


_MISSING = _missing()
needs_runtime = pytest.mark.skipif(_MISSING is not None, reason=_MISSING or "")


class EmulatorError(Exception):
    """The emulator itself failed; what a function does wrong is in its `Invocation`."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """What one invocation came to."""

    payload: Any
    """The decoded result, or the error's object with `errorType` and `errorMessage`."""
    error_type: str | None
    """The exception's class name, or Lambda's own, such as `Runtime.ExitError` and `Sandbox.Timedout`."""
    log: str
    """Everything that the function, its runtime and the emulator wrote meanwhile."""


class RuntimeEmulator:
    """One execution environment of a function: a process that serves one invocation at a time.

    As in Lambda, the runtime starts with the first invocation, serves the following ones, and is replaced
    after it has exited, was killed, or ran out of time.
    """

    def __init__(
        self,
        *,
        handler: str,
        directory: Path,
        environment: Mapping[str, str] | None = None,
        function_name: str = "function",
        timeout_seconds: int = 10,
        memory_megabytes: int = 512,
        interpreter: Sequence[str | Path] = (sys.executable,),
    ) -> None:
        self._handler = handler
        self._interpreter = interpreter
        self._directory = directory
        self._timeout_seconds = timeout_seconds
        # Nothing of the caller's own AWS configuration may reach the function.
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_SESSION_TOKEN": "testing",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
            "AWS_LAMBDA_FUNCTION_NAME": function_name,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_seconds),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_megabytes),
            "LAMBDA_TASK_ROOT": str(directory),
            **(environment or {}),
        }
        self._invoking = threading.Lock()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - lives until stop()
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where the function is invoked, for others than `invoke`; they queue as well."""
        return f"http://127.0.0.1:{self._port}{_INVOCATION_PATH}"

    def invoke(self, event: Any) -> Invocation:
        """Invoke the function and wait for it. Concurrent requests kill the emulator, so callers queue."""
        with self._invoking:
            offset = self._output_size()
            answer = self._post(json.dumps(event).encode())
            log = self._read_output(offset)
        if answer.startswith("Task timed out"):
            return Invocation({"errorType": _TIMED_OUT, "errorMessage": answer}, _TIMED_OUT, log)
        try:
            payload = json.loads(answer)
        except json.JSONDecodeError as error:
            raise EmulatorError(f"not an answer of a runtime: {answer!r}\n{log}") from error
        error_type = payload.get("errorType") if isinstance(payload, dict) else None
        return Invocation(payload, error_type, log)

    def kill(self) -> None:
        """Kill the runtime process, as when Lambda loses the machine.

        A running invocation ends with `Runtime.ExitError`. While none is running, the emulator reports that
        error to the next one instead. The invocation after it starts a new runtime.
        """
        runtimes = self._runtimes()
        if not runtimes:
            raise EmulatorError("no runtime is running; the first invocation starts it")
        _kill_groups(runtimes)
        self._poll(lambda: not runtimes & self._runtimes(), "the killed runtime is still there")

    def wait_for_output(self, text: str) -> None:
        """Wait until the function has written `text`: for a test that acts while an invocation is running."""
        self._poll(lambda: text in self._read_output(0), f"the function did not write {text!r}")

    def output(self) -> str:
        """Everything that the function, its runtime and the emulator have written so far."""
        return self._read_output(0)

    def stop(self) -> None:
        """Stop the emulator and its runtime. Harmless when they have stopped already."""
        process, self._process = self._process, None
        if process is not None:
            _stop_process(process)
        self._output.close()

    def _start(self) -> None:
        # Another process may take a port between the moment it was found free and the moment it is bound.
        for _ in range(_STARTUP_ATTEMPTS):
            if self._start_once():
                return
        raise EmulatorError(f"the emulator does not start\n{self._read_output(0)}")

    def _start_once(self) -> bool:
        binary = _emulator_binary()
        if binary is None:
            raise EmulatorError("the Lambda runtime interface emulator is missing")
        self._port, runtime_port = free_ports(2)
        self._process = process = subprocess.Popen(
            [
                binary,
                "--runtime-interface-emulator-address",
                f"127.0.0.1:{self._port}",
                "--runtime-api-address",
                f"127.0.0.1:{runtime_port}",
                *self._interpreter,
                "-m",
                "awslambdaric",
                self._handler,
            ],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        ports = (self._port, runtime_port)
        self._poll(lambda: process.poll() is not None or all(map(is_open, ports)), "the emulator does not listen")
        return process.poll() is None

    def _post(self, body: bytes) -> str:
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        try:
            with _OPENER.open(request, timeout=self._timeout_seconds + _INVOCATION_SLACK_SECONDS) as response:
                return response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()
        except OSError as error:
            raise EmulatorError(f"the emulator does not answer: {error}\n{self._read_output(0)}") from error

    def _runtimes(self) -> set[int]:
        return _children(self._process.pid) if self._process is not None else set()

    def _output_size(self) -> int:
        return os.fstat(self._output.fileno()).st_size

    def _read_output(self, offset: int) -> str:
        # The processes write through this very file description: reading must not move its position.
        size = self._output_size()
        return os.pread(self._output.fileno(), max(size - offset, 0), offset).decode(errors="replace")

    def _poll(self, condition: Callable[[], bool], complaint: str) -> None:
        for _ in range(round(_STARTUP_SECONDS / _POLL_SECONDS)):
            if condition():
                return
            time.sleep(_POLL_SECONDS)
        raise EmulatorError(f"{complaint}\n{self._read_output(0)}")


def _stop_process(process: subprocess.Popen[bytes]) -> None:
    runtimes = _children(process.pid)
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    # The emulator takes its runtime along, unless it had to be killed itself.
    _kill_groups(runtimes)


def _children(parent: int) -> set[int]:
    """The living children of a process; the dead ones that it has not buried yet do not count."""
    children: set[int] = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The command stands in parentheses and may itself contain any character.
            state, parent_id, *_ = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(parent_id) == parent and state not in "XZ":
            children.add(int(status.parent.name))
    return children


def _kill_groups(leaders: set[int]) -> None:
    """Kill runtimes along with what they started: the emulator makes each the leader of a process group."""
    for leader in leaders:
        try:
            os.killpg(leader, signal.SIGKILL)
        except ProcessLookupError:
            continue
