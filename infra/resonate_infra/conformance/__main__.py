"""`python -m resonate_infra.conformance URL`: run the scripts against a server, and print the differences."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import urllib3

from resonate_infra.conformance.runner import Failed, NoResponse, Runner, Send
from resonate_store.interface import StoreError
from resonate_store.model.clock import ambient
from resonate_store.model.ids import random_id
from resonate_store.model.servers import Scope
from resonate_store.remote.settings import server_of
from resonate_store.remote.signature import RequestSignature

TIMEOUT_S = 30.0
"""Maximum seconds to wait for one response."""


def main(arguments: list[str] | None = None) -> int:
    """Run scripts against a server.

    Args:
        arguments: the command line. Default: that of the process.

    Returns:
        The exit code: 0 if all scripts passed, 1 if some failed, 2 if they could not be run.
    """
    try:
        from resonate_infra.conformance.reading import ScriptError, corpus, load
    except ImportError as error:
        print(f"error: the scripts are YAML: pip install 'resonate-serverless[testing]' ({error})", file=sys.stderr)
        return 2
    given = _parser().parse_args(arguments)
    try:
        scripts = [script for path in given.files or corpus() for script in load(path)]
        runner = _runner(given)
    except (ScriptError, StoreError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    passed, failures = 0, 0
    left_out = sum(not runner.runs(script) for script in scripts)
    try:
        for script in scripts:
            if not runner.runs(script):
                continue
            try:
                runner.run(script)
            except Failed as failure:
                failures += 1
                print(failure)
            else:
                passed += 1
                if given.verbose:
                    print(f"{script.file}:{script.line}: {script.title}: passed")
        runner.finish()
    except (urllib3.exceptions.HTTPError, NoResponse, StoreError) as error:
        print(f"error: {given.url} cannot be asked: {error}", file=sys.stderr)
        return 2
    without = f", {left_out} left out ({_reason(given.debug)})" if left_out else ""
    print(f"{passed} passed, {failures} failed{without}")
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m resonate_infra.conformance", description="run conformance scripts against a server"
    )
    parser.add_argument("url", help="the server, such as http://localhost:8001")
    parser.add_argument("files", nargs="*", type=Path, help="files of scripts; default: those of this package")
    parser.add_argument("--token", help="the token in the head of every request")
    parser.add_argument("--debug", action="store_true", help="use debug requests: EMPTY the server, and move its clock")
    parser.add_argument(
        "--iam",
        action="store_true",
        default=None,
        help="sign requests with the AWS credentials of the environment; default for API Gateway without a token",
    )
    parser.add_argument("--verbose", action="store_true", help="also name the scripts that pass")
    return parser


def _runner(given: argparse.Namespace) -> Runner:
    server = server_of({}, url=given.url, token=given.token, iam=given.iam)
    send = over_http(server.url, server.scope)
    if given.debug:
        return Runner(send, token=given.token)
    return Runner(send, clock=ambient().now, prefix=f"c{random_id()[:12]}-", token=given.token)


def _reason(debug: bool) -> str:
    return "they need debugging off" if debug else "they need a server with debugging on, and --debug"


def over_http(url: str, scope: Scope | None = None) -> Send:
    """Return a function that sends one request body to a server over HTTP. It does not retry.

    Args:
        url: the address of the server.
        scope: the AWS scope for signatures. None does not sign requests.

    Raises:
        StoreError: requests cannot be signed.
    """
    pool = urllib3.PoolManager(retries=False, timeout=TIMEOUT_S)
    signature = None if scope is None else RequestSignature(scope)
    address = f"{url.rstrip('/')}/"

    def send(body: bytes) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"}
        if signature is not None:
            headers = signature.headers("POST", address, headers, body)
        response = pool.request("POST", address, body=body, headers=headers)
        return response.status, response.data

    return send


if __name__ == "__main__":
    sys.exit(main())
