"""`resonate schedules`: manage schedules, which create executions or promises at occurrences of a cron expression."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from resonate.occurrences import backfill, count_occurrences, updated
from resonate.payloads.codec import encode
from resonate.schedules import Schedules, differences
from resonate_infra.cli.display import write_fields, write_found, write_json, write_promise
from resonate_infra.cli.parameters import ONE_YEAR, All, Args, Cursor, Id, Kwargs, Limit, Tags, Target, Timeout, Version
from resonate_infra.cli.session import Session, connected
from resonate_infra.inspection.arguments import instant_of, json_of, milliseconds_of, pairs_of
from resonate_infra.inspection.calls import call
from resonate_infra.inspection.exits import FAILED, USAGE, Failure
from resonate_infra.inspection.texts import compact, duration, instant, payload, schedule_json
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
            f" `resonate schedules update {id}` changes it",
            FAILED,
        )
    _write(session, schedule)


@group.command("update")
@connected
def update(
    session: Session,
    id: Id,
    cron: Annotated[
        str | None, typer.Option("--cron", "-c", metavar="CRON", help="Five fields, or an alias such as @hourly.")
    ] = None,
    func: Annotated[
        str | None, typer.Option("--func", "-f", metavar="NAME", help="The function to run, with its arguments.")
    ] = None,
    arg: Args = None,
    kwarg: Kwargs = None,
    target: Annotated[
        str | None, typer.Option("--target", "-t", metavar="TARGET", help="The worker group or the address.")
    ] = None,
    version: Version = 1,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="SECONDS", help="How long each may take. Also 90s, 15m, 7d.")
    ] = None,
    tag: Tags = None,
    data: Annotated[
        str | None, typer.Option("--data", "-d", metavar="JSON", help="The param, instead of a function.")
    ] = None,
    promise_id: Annotated[
        str | None, typer.Option("--promise-id", metavar="TEMPLATE", help="The ids of the promises that it creates.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option("--timezone", metavar="ZONE", help="An IANA time zone; UTC for none.")
    ] = None,
    catch_up: Annotated[
        Literal["all", "latest", "none"] | None, typer.Option("--catch-up", help="Which missed occurrences run later.")
    ] = None,
    overlap: Annotated[
        Literal["allow", "skip"] | None,
        typer.Option("--overlap", help="Whether one begins while the previous one is pending."),
    ] = None,
    description: Annotated[
        str | None, typer.Option("--description", metavar="TEXT", help="A note; an empty text removes it.")
    ] = None,
) -> None:
    """Change a schedule. What is not given stays as it is.

    Occurrences that are due are created by the definition before. Promises that exist stay as they are. With --func,
    the arguments are those of the command.

    resonate schedules update report --cron '0 8 * * mon'
    """
    present = session.ask(ScheduleGet(id)).schedule
    assert present is not None
    tags = {**present.promise_tags, **pairs_of(tag or (), "--tag")}
    if target is not None:
        tags[TARGET] = expand(target)
    param = None
    if func is not None:
        if data is not None:
            raise Failure("--func has its arguments in --arg and --kwarg: leave --data out", USAGE)
        param, tags = call(func, arg or (), kwarg or (), version, tags[TARGET], tags)
    elif arg or kwarg:
        raise Failure("--arg and --kwarg are for a function: give --func, or --data instead", USAGE)
    elif data is not None:
        param = _encoded(json_of(data, "--data"))
    changed = {
        "cron": cron,
        "promise_id": promise_id,
        "promise_timeout": None if timeout is None else milliseconds_of(timeout, "--timeout"),
        "promise_param": param,
        "promise_tags": tags,
        "timezone": timezone,
        "catch_up": catch_up,
        "overlap": overlap,
        "description": description,
    }
    request = updated(present, {name: value for name, value in changed.items() if value is not None})
    _write(session, session.ask(request).schedule)


@group.command("backfill")
@connected
def backfill_(
    session: Session,
    id: Id,
    begin: Annotated[
        str, typer.Option("--from", metavar="INSTANT", help="The first instant: 2026-11-29T12:00Z, or 7d before now.")
    ],
    end: Annotated[str, typer.Option("--to", metavar="INSTANT", help="The last instant; 0s is now.")],
    overlap: Annotated[
        Literal["allow", "skip"] | None, typer.Option("--overlap", help="The policy, instead of the schedule's.")
    ] = None,
    most: Annotated[int, typer.Option("--max", min=1, metavar="N", help="Refuse to look at more occurrences.")] = 1000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many occurrences it would look at.")] = False,
) -> None:
    """Create the occurrences of a part of the past that have no promise.

    Each has its whole time from now on. If the command was interrupted, run it again: what exists is not created again.
    With the policy skip, an occurrence is left out while the previous one is pending.

    resonate schedules backfill report --from 2026-11-01T00:00Z --to 2026-11-08T00:00Z
    """
    now = session.clock.now()
    first, last = instant_of(begin, "--from", now) or 0, instant_of(end, "--to", now) or 0
    session.ask(ScheduleGet(id))
    try:
        many = count_occurrences(session.store, session.clock, id, first, last, most)
        if dry_run:
            done = None
        else:
            session.persist()
            done = backfill(session.store, session.clock, id, first, last, overlap, most)
    except ValueError as error:
        raise Failure(f"{error} by --max", FAILED) from None
    if session.as_json:
        counts = {} if done is None else {name: getattr(done, name) for name in ("created", "existing", "skipped")}
        write_json({"id": id, "occurrences": many, **counts})
    elif done is None:
        print(f"{plain(id)} has {many} occurrences in this time")
    else:
        print(f"{done.created} created, {done.existing} existed, {done.skipped} skipped")


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
