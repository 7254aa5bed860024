"""`resonate console`: serve the console on this machine, for a deployment."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from resonate_infra.cli.session import Session, connected
from resonate_infra.inspection.exits import FAILED, USAGE, Failure
from resonate_store.model.servers import ServerSettings

PORT = 8002
"""The default port of the console."""
LOOPBACK = "localhost"
"""The host that it listens at. Only programs of this machine reach it."""


@connected
def console(
    session: Session,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen at. 0 selects a free port.")] = PORT,
    ask_functions: Annotated[
        bool,
        typer.Option(
            "--ask-functions",
            help="Invoke the Lambda functions that the server of --url names, to show what they serve.",
        ),
    ] = False,
) -> None:
    """Serve the console on this machine, until Ctrl-C: a web page that shows executions and makes them continue.

    It uses your own credentials for the server of --url, or for the table of --table.
    """
    try:
        from resonate_infra.console.application import console as application
        from resonate_infra.console.backend import ServerBackend, TableBackend
        from resonate_infra.server.listening import CannotListen, Uvicorn, listen
    except ModuleNotFoundError as error:
        raise Failure(f"the console needs {error.name}: pip install 'resonate-serverless[cli]'") from error
    store = session.store
    if session.table is not None:
        backend: Any = TableBackend(session, f"Promises: the table {session.table}", _groups(), describe)
    else:
        assert store.distant is not None
        server: ServerSettings = store.distant.server
        # The server could name any function of the user's account, so the user must agree.
        asks = describe if ask_functions else _does_not_ask
        backend = ServerBackend(server, f"Promises: {server.url}", session.clock, describe=asks)
    try:
        sockets = listen(LOOPBACK, port)
    except CannotListen as error:
        raise Failure(str(error), FAILED) from error
    url = f"http://{LOOPBACK}:{sockets[0].getsockname()[1]}/console"

    def say() -> None:
        print(f"the console is at {url}; Ctrl-C ends it", flush=True)

    Uvicorn(application(backend), 5.0, say, lambda: None).run(sockets)


def _groups() -> dict[str, str]:
    from resonate_store.settings import SettingsError, groups_of

    try:
        return dict(groups_of(os.environ) or {})
    except SettingsError as error:
        raise Failure(str(error), USAGE) from error


def _does_not_ask(_address: str) -> str:
    return "to ask it what it serves, with your AWS credentials: resonate console --ask-functions"


def describe(address: str) -> list[dict[str, Any]] | str:
    """Ask a Lambda function for the descriptions of its functions. Return them, or why they are not known."""
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ModuleNotFoundError:
        return "to ask Lambda functions what they serve: pip install 'resonate-serverless[aws,cli]'"
    import msgspec

    from resonate_infra.inspection.descriptions import functions_in

    try:
        aws: Any = boto3
        answer = aws.client("lambda").invoke(
            FunctionName=address.removeprefix("lambda://"),
            InvocationType="RequestResponse",
            Payload=msgspec.json.encode({"kind": "describe"}),
        )
        found = functions_in(msgspec.json.decode(answer["Payload"].read()))
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "an error")
        return f"asked with your AWS credentials what it serves, it answered {code}"
    except BotoCoreError as error:
        return f"it cannot be asked with your AWS credentials what it serves: {error}"
    except msgspec.MsgspecError:
        found = None
    return "it does not answer what it serves" if found is None else found
