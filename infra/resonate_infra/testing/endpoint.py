"""Endpoint: moto as AWS on a port of this machine, for functions in other processes or in containers.

moto's own server needs Flask, uses threads without locks, and needs a container to invoke a function. This endpoint
differs:

- It passes one request at a time to moto, under one lock. So conditional writes are atomic, as in DynamoDB, even if
  functions run in parallel.
- It accepts an asynchronous invocation of a known function, as Lambda does, and keeps it for the test to carry out.
- It treats a post without a signature as an HTTP push, and keeps it for the test.

This command serves an account for `sam local invoke`:

    python -m resonate_infra.testing.endpoint --host 0.0.0.0

`template.yaml` is deployed in it, and the execution of `events/worker.json` waits for a worker. A container reaches it
at http://host.docker.internal:5000.
"""

from __future__ import annotations

import argparse
import errno
import json
import re
import socket
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import unquote

from resonate import Resonate
from resonate_store.extras import extra
from resonate_store.settings import groups_of

with extra("testing,api", "the endpoint", ends_program=__name__ == "__main__"):
    import boto3
    import requests
    from botocore.config import Config
    from moto import mock_aws

    from resonate_infra.testing.template import template as templates
    from resonate_infra.testing.template.deployment import Deployment
    from resonate_infra.testing.template.resources import create
    from resonate_store.dynamo.large_values import Payloads
    from resonate_store.dynamo.store import DynamoStore

REGION = "us-east-1"
_SERVICE = re.compile(r"Credential=[^/]+/[^/]+/[^/]+/([^/]+)/")
_STREAMS = "DynamoDBStreams"
_INVOCATION = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")
# Headers that belong to one connection. They are not passed on.
_CONNECTION_HEADERS = frozenset({"connection", "content-length", "host", "transfer-encoding"})


class Message(NamedTuple):
    """Message that was sent to a function or to an HTTP address, and that is kept for the test."""

    address: str
    """The name of the function, or the path of the URL."""
    content: Any


class Endpoint:
    """Empty AWS account at `url`. Open it with `with`.

    Args:
        host: the address to listen at.
        port: the port to listen at. 0 selects a free port.

    Raises:
        OSError: the endpoint cannot listen at this address.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.functions: frozenset[str] = frozenset()
        """Names of the functions that can be invoked."""
        self._lock = threading.Lock()
        self._invocations: list[Message] = []
        self._pushes: list[Message] = []
        self._session: Any = boto3.Session("testing", "testing", region_name=REGION)
        self._clients: dict[str, Any] = {}
        self._mock = mock_aws()
        self._host = host
        self._server = _Server((host, port), _Requests)
        self._server.endpoint = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        host = "127.0.0.1" if self._host in ("", "0.0.0.0") else self._host
        return f"http://{host}:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._mock.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._mock.stop()

    def client(self, service: str) -> Any:
        """Return a boto3 client of the account, for this process."""
        if service not in self._clients:
            config = Config(retries={"total_max_attempts": 1})
            self._clients[service] = self._session.client(service, endpoint_url=self.url, config=config)
        return self._clients[service]

    def take_invocations(self) -> list[Message]:
        """Return the asynchronous invocations since the last call of this method."""
        with self._lock:
            taken, self._invocations = self._invocations, []
        return taken

    def take_pushes(self) -> list[Message]:
        """Return the HTTP pushes since the last call of this method."""
        with self._lock:
            taken, self._pushes = self._pushes, []
        return taken

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Answer one request as AWS would. Return status, headers and body."""
        with self._lock:
            signed = _SERVICE.search(headers.get("authorization", ""))
            if signed is None:
                self._pushes.append(Message(path, json.loads(body)))
                return 202, {}, b""
            invoked = _INVOCATION.match(path)
            if invoked is not None and unquote(invoked[1]) in self.functions:
                assert headers.get("x-amz-invocation-type") == "Event", "nothing here waits for a function"
                self._invocations.append(Message(unquote(invoked[1]), json.loads(body)))
                return 202, {}, b""
            streams = headers.get("x-amz-target", "").startswith(_STREAMS)
            host = f"{'streams.' if streams else ''}{signed[1]}.{REGION}.amazonaws.com"
            answer = requests.request(method, f"https://{host}{path}", headers=headers, data=body, timeout=30)
            kept = {name: text for name, text in answer.headers.items() if name.lower() not in _CONNECTION_HEADERS}
            return answer.status_code, kept, answer.content


class _Server(ThreadingHTTPServer):
    # A killed function does not close its connections, so do not wait for their threads.
    daemon_threads = True
    block_on_close = False
    endpoint: Endpoint


class _Requests(BaseHTTPRequestHandler):
    """Request handler that keeps connections open, as AWS does, and writes each response at once."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def _serve(self) -> None:
        assert isinstance(self.server, _Server)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): text for name, text in self.headers.items()}
        kept = {name: text for name, text in headers.items() if name not in _CONNECTION_HEADERS}
        status, answer_headers, content = self.server.endpoint.answer(self.command, self.path, kept, body)
        self.send_response_only(status)
        for name, text in answer_headers.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = _serve

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing. A failing test shows what went wrong."""


def deploy(endpoint: Endpoint, stack_name: str = "resonate") -> Deployment:
    """Create the resources of `template.yaml` in the account.

    Args:
        endpoint: the open endpoint.
        stack_name: the name of the stack.

    Returns:
        The names and addresses of the created resources.
    """
    template = templates.load(templates.default_template(), stack=templates.TemplateStack(stack_name))
    deployment = create(template, endpoint.client)
    endpoint.functions = frozenset(function.name for function in deployment.functions.values())
    return deployment


def _option_at_fault(error: Exception) -> str:
    """Return the option that must change: `--host` if the host is unknown or not this machine, otherwise `--port`."""
    unknown = isinstance(error, (socket.gaierror, UnicodeError))
    elsewhere = isinstance(error, OSError) and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return "--host" if unknown or elsewhere else "--port"


def main(arguments: list[str] | None = None) -> int:
    """Serve until Ctrl-C. Return the exit code, 1 if the endpoint cannot listen."""
    parser = argparse.ArgumentParser(prog="python -m resonate_infra.testing.endpoint", description="AWS for sam local")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 admits containers")
    parser.add_argument("--port", type=int, default=5000)
    options = parser.parse_args(arguments)
    try:
        endpoint = Endpoint(options.host, options.port)
    except (OSError, UnicodeError, OverflowError) as error:
        where, reason = f"{options.host}:{options.port}", getattr(error, "strerror", None) or error
        print(f"cannot listen on {where}: {reason}; choose another {_option_at_fault(error)}", file=sys.stderr)
        return 1
    with endpoint:
        deployment = deploy(endpoint)
        groups = groups_of(deployment.functions["WorkerFunction"].environment)
        payloads = Payloads(deployment.bucket, f"{deployment.table_name}/", client=endpoint.client("s3"), width=1)
        store = DynamoStore(deployment.table_name, client=endpoint.client("dynamodb"), groups=groups, payloads=payloads)
        client = Resonate(store=store).options(target="worker")
        client.begin_rpc("sleep-workflow-1", "sleeping_workflow", wf_id="sleep-workflow-1", secs=5.0)
        print(f"table {deployment.table_name} at {endpoint.url}; sleep-workflow-1 waits for a worker", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
