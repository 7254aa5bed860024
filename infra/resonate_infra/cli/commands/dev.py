"""`resonate dev`: the development server in the foreground."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Literal

import typer

from resonate_infra.cli.arguments import milliseconds_of, pairs_of
from resonate_infra.cli.exits import USAGE, Failure
from resonate_infra.effects.settings import origins_of
from resonate_store.settings import SettingsError, groups_of

_WHERE = "Where promises are"
_WORK = "Workers"
_ACCESS = "Who may call"


def dev(
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0 lets other machines in.")] = "localhost",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; any free port if 0.")] = 8001,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where workers reach this server, if not at host and port.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="FILE", rich_help_panel=_WHERE, help="A SQLite file; they are in memory if not given."),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", rich_help_panel=_WHERE, help="A DynamoDB table, in AWS or where AWS_ENDPOINT_URL leads."
        ),
    ] = None,
    retention: Annotated[
        str,
        typer.Option(
            metavar="SECONDS", rich_help_panel=_WHERE, help="How long a table keeps settled executions; also 12h, 7d."
        ),
    ] = "30d",
    lambdas: Annotated[
        list[str] | None,
        typer.Option(
            "--lambda",
            metavar="GROUP=MODULE:HANDLER",
            rich_help_panel=_WORK,
            help="Serve a worker group by a Lambda handler in this process; may be repeated.",
        ),
    ] = None,
    lambda_timeout: Annotated[
        str, typer.Option(metavar="SECONDS", rich_help_panel=_WORK, help="How long an invocation of one may take.")
    ] = "60",
    groups: Annotated[
        list[str] | None,
        typer.Option(
            "--group",
            metavar="NAME=ADDRESS",
            rich_help_panel=_WORK,
            help="Push a worker group's tasks to an address, instead of letting it poll; those of RESONATE_GROUPS if"
            " not given. RESONATE_PUSH_TOKEN is what pushes show.",
        ),
    ] = None,
    push_timeout: Annotated[
        str, typer.Option(metavar="SECONDS", rich_help_panel=_WORK, help="How long to wait for a worker's reply.")
    ] = "180",
    cors: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN", rich_help_panel=_ACCESS, help="Let web pages of this origin call; * for all; repeatable."
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=_ACCESS,
            help="Answer to this name as well, without tokens; localhost and --host count already; * for all;"
            " repeatable.",
        ),
    ] = None,
    auth_public_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            envvar="RESONATE_AUTH_PUBLIC_KEY",
            rich_help_panel=_ACCESS,
            help="Ask for tokens that this key verifies: PEM, a file with it, or `none` to believe every token.",
        ),
    ] = None,
    auth_issuer: Annotated[
        str | None,
        typer.Option(
            metavar="ISSUER",
            envvar="RESONATE_AUTH_ISS",
            rich_help_panel=_ACCESS,
            help="What tokens must say of where they are from.",
        ),
    ] = None,
    auth_audience: Annotated[
        str | None,
        typer.Option(
            metavar="AUDIENCE",
            envvar="RESONATE_AUTH_AUD",
            rich_help_panel=_ACCESS,
            help="What tokens must say of whom they are for.",
        ),
    ] = None,
    debug: Annotated[bool, typer.Option(help="Answer requests that move the clock and look inside.")] = False,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], typer.Option(help="`debug` shows every request and message.")
    ] = "info",
) -> None:
    """Run a Resonate server for development, until Ctrl-C.

    It speaks the Resonate protocol to the SDKs of any language: promises, timers, schedules, leases and messages are
    those of a deployment, in one process.
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
    """The groups, held to what `RESONATE_GROUPS` is held to."""

    try:
        return groups_of({"RESONATE_GROUPS": json.dumps(groups)}) or {}
    except SettingsError as error:
        raise Failure(str(error).replace("RESONATE_GROUPS", "--group"), USAGE) from error


def _origins(listed: Sequence[str]) -> tuple[str, ...]:
    """The origins, held to what `RESONATE_CORS_ORIGINS` is held to."""

    try:
        return origins_of(listed, "--cors")
    except SettingsError as error:
        raise Failure(str(error), USAGE) from error
