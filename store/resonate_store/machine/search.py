"""Search: which entries match, how they are shown, and in which order.

A search does not settle promises. It shows a due promise as settled without writing it (docs/rules.md Q1). The
transition asks its store for a `Page`. A store that reads its records in the order of the search uses `page_of`. Any
other store uses `shown` and `place_of`. The rules of matching and order are therefore only in this module.

A cursor contains the position at which a page ended, and a number for its search. With another search it is refused,
because its position belongs to another order (Q4).
"""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Iterable
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from resonate_store.machine.draft import NeedPage, Outcome, Page, Place, Shown, Transition, materialised
from resonate_store.machine.executions import matches, with_awaited
from resonate_store.model.execution_requests import ExecutionSearch, ExecutionView
from resonate_store.model.records import Entry, PromiseView, Record, Schedule, ScheduleRecord, Task
from resonate_store.model.requests import PromiseSearch, Response, Search, TaskSearch
from resonate_store.model.schedule_requests import ScheduleSearch

MAX_EXAMINED: Final = 1_000
"""About how many entries a store examines for one page of a search that no index serves."""
_FARTHEST = 2**53
"""The largest instant (ms). A position contains an instant, or its negative for the newest first."""


class _Cursor(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    search: int
    first: Annotated[int, Meta(ge=-_FARTHEST, le=_FARTHEST)] | str
    second: str


_decoder = msgspec.msgpack.Decoder(_Cursor)
_encoder = msgspec.msgpack.Encoder()


def search(request: Search, now: int) -> Transition:
    after: Place | None = None
    if request.cursor is not None:
        try:
            cursor = _decoder.decode(binascii.unhexlify(request.cursor))
        except (ValueError, msgspec.MsgspecError):
            return Outcome(Response(status=400, error=_no_cursor(request)))
        if cursor.search != _fingerprint(request):
            return Outcome(
                Response(
                    status=400,
                    error=f"the cursor belongs to another {request.kind}: repeat all but the limit, or leave it out",
                )
            )
        after = (cursor.first, cursor.second)
    page: Page | None = yield NeedPage(request, after, now)
    if page is None:
        return Outcome(Response(status=400, error=_no_cursor(request)))
    response = _answer(request, page)
    if response.executions:
        response = replace(response, executions=(yield from with_awaited(response.executions, now)))
    return Outcome(response)


def shown(search: Search, entry: Entry, now: int) -> Shown | None:
    """Return what a search shows of an entry, or None if the entry does not match."""
    if isinstance(search, ScheduleSearch):
        if not isinstance(entry, ScheduleRecord) or not _tagged(entry.promise_tags, search.tags):
            return None
        return entry.schedule()
    if not isinstance(entry, Record):
        return None
    if isinstance(search, ExecutionSearch):
        return matches(search, entry, now)
    if isinstance(search, PromiseSearch):
        if not (
            _tagged(entry.tags, search.tags)
            and (search.id is None or entry.id.startswith(search.id))
            and (entry.root or not search.roots)
        ):
            return None
        promise = materialised(entry, max(now, entry.written_at)).promise()
        return promise if search.state in (None, promise.state) else None
    task = materialised(entry, max(now, entry.written_at)).task_view()
    return task if task is not None and search.state in (None, task.state) else None


def place_of(search: Search, entry: Entry) -> tuple[int, str]:
    """Return the position of an entry in the order of a search: by id, or for roots the newest first."""
    return (-entry.created_at if by_age(search) else 0, entry.id)


def by_age(search: Search) -> bool:
    """Return whether a search finds executions only, and so has the order of their age."""
    return isinstance(search, ExecutionSearch) or (isinstance(search, PromiseSearch) and search.roots)


def page_of(need: NeedPage, entries: Iterable[Entry]) -> Page:
    """Return the page that begins with the first of `entries`, which are in order. It reads no more than it needs.

    A search for executions reads about `MAX_EXAMINED` of them, so its page may end before it is full.
    """
    search = need.search
    found: list[Shown] = []
    reached: Place | None = None
    last: Place | None = None
    bounded = isinstance(search, ExecutionSearch)
    for examined, entry in enumerate(entries):
        if bounded and examined == MAX_EXAMINED:
            return Page(tuple(found), reached)
        reached = place_of(search, entry)
        view = shown(search, entry, need.now)
        if view is None:
            continue
        if len(found) == search.limit:
            return Page(tuple(found), last)
        found.append(view)
        last = reached
    return Page(tuple(found))


def _tagged(tags: dict[str, str], wanted: dict[str, str]) -> bool:
    return wanted.items() <= tags.items()


def _answer(request: Search, page: Page) -> Response:
    cursor = None
    if page.position is not None:
        cursor = binascii.hexlify(_encoder.encode(_Cursor(_fingerprint(request), *page.position))).decode()
    if isinstance(request, PromiseSearch):
        promises = tuple([view for view in page.found if isinstance(view, PromiseView)])
        return Response(promises=promises, cursor=cursor)
    if isinstance(request, TaskSearch):
        return Response(tasks=tuple([view for view in page.found if isinstance(view, Task)]), cursor=cursor)
    if isinstance(request, ExecutionSearch):
        views = tuple([view for view in page.found if isinstance(view, ExecutionView)])
        return Response(executions=views, cursor=cursor)
    return Response(schedules=tuple([view for view in page.found if isinstance(view, Schedule)]), cursor=cursor)


def _fingerprint(request: Search) -> int:
    """Return a number for the conditions of a search. Two different searches almost never have the same number."""
    what = msgspec.structs.asdict(request)
    del what["limit"], what["cursor"]
    if "tags" in what:
        what["tags"] = sorted(what["tags"].items())
    return zlib.crc32(_encoder.encode((request.kind, what)))


def _no_cursor(request: Search) -> str:
    shortened = (request.cursor or "")[:60]
    return f"{shortened!r} is no cursor of a {request.kind}: give one from its last page, or none to begin anew"
