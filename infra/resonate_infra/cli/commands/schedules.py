"""`resonate schedules`: manage schedules, which create executions or promises at occurrences of a cron expression."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from resonate.payloads.codec import encode
from resonate.schedules import Schedules, differences
from resonate_infra.cli.arguments import json_of, milliseconds_of, pairs_of
from resonate_infra.cli.calls import call
from resonate_infra.cli.display import (
    compact,
    duration,
    instant,
    payload,
    schedule_json,
    write_fields,
    write_found,
    write_json,
    write_promise,
)
from resonate_infra.cli.exits import FAILED, USAGE, Failure
from resonate_infra.cli.parameters import ONE_YEAR, All, Args, Cursor, Id, Kwargs, Limit, Tags, Target, Timeout, Version
from resonate_infra.cli.session import Session, connected
from resonate_infra.text import plain
from resonate_store.model.addresses import expand
from resonate_store.model.records import EMPTY, Schedule
from resonate_store.model.schedule_requests import (
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    SchedulePause,
    ScheduleResume,
    ScheduleSearch,
    ScheduleTrigger,
)
from resonate_store.model.tags import TARGET

group = typer.Typer(help="Manage schedules, which run functions or create promises.")


@group.command("create")
@connected
def create(
    session: Session,
    id: Id,
    cron: Annotated[
        str, typer.Option("--cron", "-c", metavar="CRON", help="Five fields, or an alias such as @hourly.")
    ],
    func: Annotated[
        str | None,
        typer.Option("--func", "-f", metavar="NAME", help="The function to run. Without it, --data is the param."),
    ] = None,
    arg: Args = None,
    kwarg: Kwargs = None,
    target: Target = "default",
    version: Version = 1,
    timeout: Timeout = ONE_YEAR,
    tag: Tags = None,
    data: Annotated[
        str | None,
        typer.Option("--data", "-d", metavar="JSON", help="The param, instead of a function.", show_default=False),
    ] = None,
    promise_id: Annotated[
        str, typer.Option("--promise-id", metavar="TEMPLATE", help="The ids of the promises that it creates.")
    ] = "{{.id}}.{{.timestamp}}",
    timezone: Annotated[
        str | None, typer.Option("--timezone", metavar="ZONE", help="An IANA time zone. Default: UTC.")
    ] = None,
    catch_up: Annotated[
        Literal["all", "latest", "none"], typer.Option("--catch-up", help="Which missed occurrences run later.")
    ] = "all",
    overlap: Annotated[
        Literal["allow", "skip"],
        typer.Option("--overlap", help="Whether one begins while the previous one is pending."),
    ] = "allow",
    description: Annotated[str | None, typer.Option("--description", metavar="TEXT", help="A note.")] = None,
) -> None:
    """Create a schedule. If the same schedule exists already, show it.

    resonate schedules create report --cron '0 7 * * mon' --timezone Europe/Berlin --func report --target worker
    """

    tags = pairs_of(tag or (), "--tag")
    if func is not None:
        if data is not None:
            raise Failure(
                "a function takes --arg and --kwarg, and --data stands for none: give one or the other", USAGE
            )
        param, tags = call(func, arg or (), kwarg or (), version, target, tags)
    elif arg or kwarg:
        raise Failure("--arg and --kwarg are for a function: give --func, or --data instead", USAGE)
    else:
        param = EMPTY if data is None else _encoded(json_of(data, "--data"))
        tags = {TARGET: expand(target), **tags}
    request = ScheduleCreate(
        id,
        cron,
        promise_id,
        milliseconds_of(timeout, "--timeout"),
        param,
        tags,
        timezone,
        catch_up,
        overlap,
        description,
    )
    schedule = session.ask(request).schedule
    assert schedule is not None

    if differing := differences(request, schedule):
        raise Failure(
            f"schedule {id!r} exists already with another {' and '.join(differing)}:"
            f" `resonate schedules delete {id}` makes room for the new one",
            FAILED,
        )
    _write(session, schedule)


@group.command("get")
@connected
def get(session: Session, id: Id) -> None:
    """Show one schedule."""

    _write(session, session.ask(ScheduleGet(id)).schedule)


@group.command("delete")
@connected
def delete(session: Session, id: Id) -> None:
    """Delete a schedule. The promises that it has created are not deleted."""

    session.ask(ScheduleDelete(id))
    if session.as_json:
        write_json({"id": id})
    else:
        print(f"deleted {plain(id)}")


@group.command("list")
@connected
def list_(session: Session, tag: Tags = None, limit: Limit = 100, all: All = False, cursor: Cursor = None) -> None:
    """List schedules. --tag compares the tags of the promises that they create."""

    found: list[Schedule] = []
    for page in session.pages(ScheduleSearch(pairs_of(tag or (), "--tag"), cursor=cursor), None if all else limit):
        found += page.schedules or ()
        cursor = page.cursor

    def row(schedule: Schedule) -> list[str]:
        following = "paused" if schedule.paused else instant(schedule.next_run_at)
        return [schedule.id, schedule.cron, schedule.timezone or "UTC", following, instant(schedule.last_run_at)]

    columns = ("ID", "CRON", "TIME ZONE", "NEXT", "LAST")
    documents = [schedule_json(each, session.raw) for each in found]
    write_found(session, "schedules", found, documents, (columns, row), cursor)


@group.command("pause")
@connected
def pause(session: Session, id: Id) -> None:
    """Pause a schedule. It creates nothing until it is resumed."""

    _write(session, session.ask(SchedulePause(id)).schedule)


@group.command("resume")
@connected
def resume(session: Session, id: Id) -> None:
    """Resume a schedule with its next occurrence from now. Occurrences during the pause are omitted."""

    _write(session, session.ask(ScheduleResume(id)).schedule)


@group.command("trigger")
@connected
def trigger(session: Session, id: Id) -> None:
    """Create an occurrence now, also if the schedule is paused, and show its promise."""

    promise = session.ask(ScheduleTrigger(id)).promise
    assert promise is not None
    write_promise(session, promise)


@group.command("next")
@connected
def next_(
    session: Session,
    id: Id,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, metavar="N", help="How many to show.")] = 5,
) -> None:
    """Show the next occurrences of a schedule, also if it is paused."""

    session.ask(ScheduleGet(id))
    runs = Schedules(session.store, session.clock).next_runs(id, count)
    if session.as_json:
        write_json({"id": id, "nextRuns": runs})
        return
    for at in runs:
        print(instant(at))


def _write(session: Session, schedule: Any) -> None:
    if session.as_json:
        write_json(schedule_json(schedule, session.raw))
        return
    param = payload(schedule.promise_param, session.raw)
    skipped = f"{instant(schedule.skipped_at)}: {schedule.skip_reason}" if schedule.skipped_at is not None else ""
    write_fields(
        [
            ("id", plain(schedule.id)),
            ("cron", f"{schedule.cron} ({schedule.timezone or 'UTC'})"),
            ("state", "paused" if schedule.paused else "active"),
            ("next", instant(schedule.next_run_at)),
            ("last", instant(schedule.last_run_at)),
            ("last promise", plain(schedule.last_promise or "")),
            ("skipped", plain(skipped)),
            ("promises", plain(schedule.promise_id)),
            ("timeout", duration(schedule.promise_timeout)),
            ("param", compact(param["data"]) if "data" in param else ""),
            ("tags", "\n".join(plain(f"{name}={text}") for name, text in sorted(schedule.promise_tags.items()))),
            ("policies", f"catch up {schedule.catch_up}, overlap {schedule.overlap}"),
            ("note", plain(schedule.description or "")),
        ]
    )


def _encoded(value: Any) -> Any:
    return encode(value, "--data")
