"""`resonate dev`: run the development server in the foreground."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Literal

import typer

from resonate_infra.effects.settings import origins_of
from resonate_infra.inspection.arguments import milliseconds_of, pairs_of
from resonate_infra.inspection.exits import USAGE, Failure
from resonate_store.settings import SettingsError, groups_of

_WHERE = "Store"
_WORK = "Workers"
_ACCESS = "Access"


def dev(
    host: Annotated[str, typer.Option(help="The host to listen at. 0.0.0.0 admits other machines.")] = "localhost",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen at. 0 selects a free port.")] = 8001,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="The URL of this server for workers. Default: host and port.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", rich_help_panel=_WHERE, help="A SQLite file for the promises. Default: in memory."
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=_WHERE,
            help="A DynamoDB table for the promises, in AWS or at AWS_ENDPOINT_URL.",
        ),
    ] = None,
    retention: Annotated[
        str,
        typer.Option(
            metavar="SECONDS", rich_help_panel=_WHERE, help="How long a table keeps settled executions. Also 12h, 7d."
        ),
    ] = "30d",
    lambdas: Annotated[
        list[str] | None,
        typer.Option(
            "--lambda",
            metavar="GROUP=MODULE:HANDLER",
            rich_help_panel=_WORK,
            help="Serve a worker group with a Lambda handler in this process. Repeat it for more.",
        ),
    ] = None,
    lambda_timeout: Annotated[
        str,
        typer.Option(metavar="SECONDS", rich_help_panel=_WORK, help="How long an invocation of a handler may take."),
    ] = "60",
    reload: Annotated[
        bool,
        typer.Option(
            "--reload", rich_help_panel=_WORK, help="Import the handlers of --lambda anew when a source changes."
        ),
    ] = False,
    groups: Annotated[
        list[str] | None,
        typer.Option(
            "--group",
            metavar="NAME=ADDRESS",
            rich_help_panel=_WORK,
            help="Push the tasks of a worker group to an address. Its workers then need not poll. Repeat it for more."
            " Default: RESONATE_GROUPS. Pushes carry the secret RESONATE_PUSH_TOKEN.",
        ),
    ] = None,
    push_timeout: Annotated[
        str, typer.Option(metavar="SECONDS", rich_help_panel=_WORK, help="How long to wait for a worker's response.")
    ] = "180",
    cors: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            rich_help_panel=_ACCESS,
            help="Admit web pages of this origin, or * for all. Repeat it for more.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=_ACCESS,
            help="Admit requests to this host name, or * for all, if no tokens are required. Localhost, --host and"
            " --url are always admitted. Repeat it for more.",
        ),
    ] = None,
    auth_public_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            envvar="RESONATE_AUTH_PUBLIC_KEY",
            rich_help_panel=_ACCESS,
            help="Require tokens that this key verifies: PEM, a file with it, or `none` to accept every signature.",
        ),
    ] = None,
    auth_issuer: Annotated[
        str | None,
        typer.Option(
            metavar="ISSUER",
            envvar="RESONATE_AUTH_ISS",
            rich_help_panel=_ACCESS,
            help="The claim `iss` that tokens must have.",
        ),
    ] = None,
    auth_audience: Annotated[
        str | None,
        typer.Option(
            metavar="AUDIENCE",
            envvar="RESONATE_AUTH_AUD",
            rich_help_panel=_ACCESS,
            help="The claim `aud` that tokens must have.",
        ),
    ] = None,
    debug: Annotated[bool, typer.Option(help="Admit debug requests, which move the clock and read the store.")] = False,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], typer.Option(help="`debug` shows every request and message.")
    ] = "info",
) -> None:
    """Run a Resonate server for development, until Ctrl-C.

    It serves the Resonate protocol to the SDKs of any language. Promises, timers, schedules, leases and messages work
    as in a deployment, in one process.
    """
    seconds = {
        "--retention": milliseconds_of(retention, "--retention") / 1000,
        "--lambda-timeout": milliseconds_of(lambda_timeout, "--lambda-timeout") / 1000,
        "--push-timeout": milliseconds_of(push_timeout, "--push-timeout") / 1000,
    }
    for option, number in seconds.items():
        if number <= 0:
            raise Failure(f"{option} must be longer than nothing", USAGE)
    mapped = pairs_of(groups or (), "--group", "ADDRESS")
    try:
        from resonate_infra.server.assembly import ServerOptions
        from resonate_infra.server.process import serve
    except ModuleNotFoundError as error:
        raise Failure(f"the server needs {error.name}: pip install 'resonate-serverless[cli]'") from error
    options = ServerOptions(
        host=host,
        port=port,
        url=url,
        data=data,
        table=table,
        retention=round(seconds["--retention"]),
        lambdas=tuple(lambdas or ()),
        lambda_timeout=seconds["--lambda-timeout"],
        reload=reload,
        groups=_groups(mapped) if mapped else None,
        push_timeout=seconds["--push-timeout"],
        origins=_origins(cors or ()),
        allowed_hosts=tuple(allow_host or ()),
        debug=debug,
        auth_key=auth_public_key,
        auth_issuer=auth_issuer,
        auth_audience=auth_audience,
    )
    raise typer.Exit(serve(options, log_level))


def _groups(groups: dict[str, str]) -> dict[str, str]:
    """Return the groups after the checks that `RESONATE_GROUPS` also has.

    Raises:
        Failure: a group or an address is malformed.
    """

    try:
        return groups_of({"RESONATE_GROUPS": json.dumps(groups)}) or {}
    except SettingsError as error:
        raise Failure(str(error).replace("RESONATE_GROUPS", "--group"), USAGE) from error


def _origins(listed: Sequence[str]) -> tuple[str, ...]:
    """Return the origins after the checks that `RESONATE_CORS_ORIGINS` also has.

    Raises:
        Failure: an origin is malformed.
    """

    try:
        return origins_of(listed, "--cors")
    except SettingsError as error:
        raise Failure(str(error), USAGE) from error
