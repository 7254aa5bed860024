"""Routes of the console."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from resonate.errors import ResonateError, ResonateStoreError
from resonate_infra.console.backend import Backend
from resonate_infra.console.rendering import BASE, STATIC, content_of, url
from resonate_infra.console.security import ConsoleGuard
from resonate_infra.console.views import actions, execution, executions, people, schedules, signing_in, start, workers
from resonate_infra.console.visit import State, Visit
from resonate_infra.inspection.exits import NOT_FOUND, UNREACHABLE, USAGE, Failure
from resonate_store.interface import StoreError

MOST_FORM_BYTES: Final = 2 * 1024 * 1024
"""Maximum size of a form in bytes: that of a request to the server."""
COOKIE: Final = "resonate-console"
"""The cookie of a user after signing in."""
STATUS_OF: Final = {NOT_FOUND: 404, USAGE: 400, UNREACHABLE: 503}
"""The HTTP status of a failure, by its exit code. Any other code is a conflict."""

logger = logging.getLogger("resonate.console")

View = Callable[[Visit], Response]

READS: Final[dict[str, View]] = {
    "/executions": executions.listing,
    "/execution": execution.overview,
    "/promise": execution.one_promise,
    "/payload": execution.one_payload,
    "/records": execution.records,
    "/export": execution.export,
    "/people": people.waiting,
    "/schedules": schedules.listing,
    "/schedule": schedules.form,
    "/workers": workers.listing,
    "/start": start.form,
}
"""The pages."""
WRITES: Final[dict[str, View]] = {
    "/execution/cancel": actions.cancel,
    "/execution/halt": actions.halt,
    "/execution/continue": actions.continue_,
    "/execution/retry": actions.retry_now,
    "/execution/delete": actions.delete,
    "/execution/fork": actions.fork,
    "/execution/redrive": actions.redrive,
    "/execution/send": actions.send,
    "/promise/settle": people.settle,
    "/schedules/pause": schedules.pause,
    "/schedules/resume": schedules.resume,
    "/schedules/trigger": schedules.trigger,
    "/schedules/backfill": schedules.backfill,
    "/schedules/update": schedules.update,
    "/start": start.start,
    "/clock": start.advance,
}
"""The forms."""


def console(backend: Backend, hosts: Iterable[str] = ()) -> ASGIApp:
    """Return the console as an ASGI application, for the paths at and below `BASE`.

    Args:
        backend: the deployment that it shows.
        hosts: names by which it may be called, in addition to loopback. "*" admits all.
    """
    state = State(backend)
    routes = [Route(f"{BASE}{path}", partial(_read, state, path, view)) for path, view in READS.items()]
    routes += [
        Route(f"{BASE}{path}", partial(_write, state, path, view), methods=["POST"]) for path, view in WRITES.items()
    ]
    app = Starlette(
        routes=[
            *routes,
            Route(BASE, _home),
            Route(f"{BASE}/", _home),
            Route("/", _home),
            Route(f"{BASE}/static/{{name}}", _static),
            Route(f"{BASE}/sign-in", partial(_sign_in, state), methods=["POST"]),
            Route(f"{BASE}/sign-out", partial(_sign_out, state), methods=["POST"]),
        ],
        exception_handlers={404: partial(_unknown, state)},
    )
    app.router.redirect_slashes = False
    return ConsoleGuard(app, tuple(hosts))  # not middleware of Starlette, whose answer to a defect lies outside of it


async def _home(_request: Request) -> Response:
    return RedirectResponse(url("/executions"), 303)


async def _unknown(state: State, request: Request, _error: Exception) -> Response:
    """Answer a request for an address that the console does not have."""
    return await run_in_threadpool(_unknown_page, state, request)


def _unknown_page(state: State, request: Request) -> Response:
    visit = _visit(state, "", request, {})
    return visit.page("error.html", 404, title="Not found", problem="The console has no page at this address.")


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in STATIC:
        return Response(status_code=404)
    kept = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(content_of(name), media_type=STATIC[name], headers=kept)


async def _read(state: State, path: str, view: View, request: Request) -> Response:
    return await run_in_threadpool(_answered, state, path, view, request, {})


async def _write(state: State, path: str, view: View, request: Request) -> Response:
    form = await _form(request)
    if form is None:
        return Response(status_code=413)
    refused = await run_in_threadpool(_refused_form, state, path, request, form)
    return refused or await run_in_threadpool(_answered, state, path, view, request, form)


async def _sign_in(state: State, request: Request) -> Response:
    form = await _form(request)
    if form is None:
        return Response(status_code=413)
    refused = await run_in_threadpool(_refused_form, state, "/sign-in", request, form)
    if refused is not None:
        return refused
    visit = _visit(state, "/sign-in", request, form)
    token = visit.field("jwt")
    problem = await run_in_threadpool(signing_in.problem_with, visit, token)
    if problem:
        return signing_in.page(visit, problem, 401)
    response = RedirectResponse(url("/executions"), 303)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, state.users.add(token), path=BASE, httponly=True, samesite="strict", secure=secure)
    return response


async def _sign_out(state: State, request: Request) -> Response:
    form = await _form(request)
    if form is None or not state.write_token.fits(next(iter(form.get("token", ())), "")):
        return Response(status_code=403)
    state.users.remove(request.cookies.get(COOKIE, ""))
    response = RedirectResponse(url("/executions"), 303)
    response.delete_cookie(COOKIE, path=BASE, httponly=True, samesite="strict")
    return response


async def _form(request: Request) -> dict[str, list[str]] | None:
    """Return the fields of a form, or None if it is too large or has another encoding."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return None
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > MOST_FORM_BYTES:
                return None
    except ClientDisconnect:
        return None
    try:
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=1000)
    except ValueError:
        return None


def _visit(state: State, path: str, request: Request, form: dict[str, list[str]]) -> Visit:
    query = {name: request.query_params.getlist(name) for name in request.query_params}
    return Visit(state, path, query, form, request.cookies.get(COOKIE))


def _refused_form(state: State, path: str, request: Request, form: dict[str, list[str]]) -> Response | None:
    """Return the page that refuses a form without the token, or None."""
    if state.write_token.fits(next(iter(form.get("token", ())), "")):
        return None
    visit = _visit(state, path, request, {})
    return visit.page("error.html", 403, title="This form is too old", problem="Reload the page, and send it again.")


def _answered(state: State, path: str, view: View, request: Request, form: dict[str, list[str]]) -> Response:
    """Return the answer of a view, or the page that says why there is none."""
    visit = _visit(state, path, request, form)
    if state.backend.asks_for_token and visit.token is None:
        return signing_in.page(visit)
    try:
        return view(visit)
    except Failure as failure:
        return _failed(visit, str(failure), failure.status or STATUS_OF.get(failure.code, 409))
    except ResonateStoreError as error:
        return _failed(visit, error.mesg, error.status if 400 <= error.status < 600 else 409)
    except ResonateError as error:
        return _failed(visit, error.mesg, 400)
    except StoreError as error:
        return _failed(visit, str(error), 503)
    except Exception:
        logger.exception("%s of the console failed", path)
        return _failed(visit, "a defect of the console; the log of its process has the traceback", 500)


def _failed(visit: Visit, problem: str, status: int) -> Response:
    if status == 401:
        return signing_in.page(visit, "The server does not accept your token any more.", 401)
    if status == 403:
        problem = "your token does not permit this. If it permits some ids, filter by the beginning of the id."
    titles = {404: "Not found", 403: "Not permitted", 503: "The promises cannot be read"}
    problem = problem[:1].upper() + problem[1:]
    return visit.page("error.html", status, title=titles.get(status, "This is not possible"), problem=problem)
