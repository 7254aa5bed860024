"""`resonate doctor`: find out what is wrong with an installation, a deployment or a connection."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from resonate_infra.cli.display import console, write_json
from resonate_infra.cli.doctor.checks import OF_SERVER, OF_TABLE, SIGNED
from resonate_infra.cli.doctor.findings import Check, Observation, Subject, examine
from resonate_infra.cli.session import Session, connected
from resonate_infra.inspection.exits import FAILED
from resonate_infra.text import plain

STYLES = {"ok": "green", "warning": "yellow", "error": "red", "skipped": "dim"}


@connected
def doctor(
    session: Session,
    stack: Annotated[
        str | None,
        typer.Option("--stack", metavar="NAME", help="The stack of the table. Default: found by its parameters."),
    ] = None,
) -> None:
    """Check this installation, and the deployment or server that it is connected to.

    Each check writes a line: ok, warning, error or skipped, and what to do. It changes nothing. The exit code is 1 if
    there is an error.
    """
    subject = Subject(session, stack, session.clock, _client)
    findings: list[Observation] = []
    for finding in examine(subject, _checks_of(session)):
        findings.append(finding)
        if not session.as_json:
            _write(finding)
    failed = any(finding.level == "error" for finding in findings)
    if session.as_json:
        write_json({"ok": not failed, "findings": [finding._asdict() for finding in findings]})
    if failed:
        raise typer.Exit(FAILED)


def _checks_of(session: Session) -> tuple[Check, ...]:
    if session.table is not None:
        return OF_TABLE
    return OF_SERVER if session.server.scope is None else (*SIGNED, *OF_SERVER)


def _client(service: str) -> Any:
    from resonate_store.aws.clients import boto3_client
    from resonate_store.aws.connections import CallLimits

    return boto3_client(service, CallLimits(connect_timeout_s=5, read_timeout_s=10, attempts=2))


def _write(finding: Observation) -> None:
    from rich.text import Text

    way = f"; {finding.way}" if finding.way else ""
    line = Text(f"{finding.level:<8}", style=STYLES[finding.level])
    console().print(line.append(f" {finding.check}: {plain(finding.text)}{plain(way)}", style="default"))
