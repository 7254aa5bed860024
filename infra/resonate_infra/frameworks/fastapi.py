"""Helpers for FastAPI: a lifespan, a dependency, a route for the status of executions, and the answer to a start.

    app = FastAPI(lifespan=lifespan(resonate))
    app.include_router(executions_router(functions=["order"]), prefix="/executions")

    @app.post("/orders", status_code=202)
    def start(order: Order, request: Request, resonate: Client) -> JSONResponse:
        resonate.begin_rpc(f"order-{order.number}", "order", order.item)
        return accepted(request, f"order-{order.number}")

Needs the extra `fastapi`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.requests import HTTPConnection
from fastapi.responses import JSONResponse

from resonate import Resonate
from resonate_infra.frameworks.status import status_of

LONGEST_WAIT_S = 20
"""How long a request for a status may wait at most, in seconds. Most proxies end a request after 30 s."""
MOST_WAITING = 100
"""How many requests for a status have a thread at the same time."""
_ROUTE = "resonate_execution"


def lifespan(resonate: Resonate) -> Callable[[FastAPI], AbstractAsyncContextManager[dict[str, Any]]]:
    """Return a lifespan that starts the worker of this process, and stops it when the application ends.

    Functions that run are waited for, as `Resonate.stop` says. The connection is in the state of each request.

    Args:
        resonate: the connection. A program that only starts executions has a group of its own, which runs none.
    """

    @asynccontextmanager
    async def run(_: FastAPI) -> AsyncGenerator[dict[str, Any]]:
        resonate.start()
        try:
            yield {"resonate": resonate}
        finally:
            await to_thread.run_sync(resonate.stop)

    return run


def client(connection: HTTPConnection) -> Resonate:
    """Return the connection of the application's lifespan: a dependency of endpoints. Tests override it.

    Raises:
        RuntimeError: the application does not have the lifespan.
    """
    resonate = getattr(connection.state, "resonate", None)
    if not isinstance(resonate, Resonate):
        raise RuntimeError("the application has no connection: FastAPI(lifespan=lifespan(resonate))")
    return resonate


Client = Annotated[Resonate, Depends(client)]
"""The type of an endpoint's parameter that gets the connection."""


def executions_router(*, functions: Collection[str] | None = None) -> APIRouter:
    """Return a router with `GET /{id}`: the status of an execution, as `resonate_infra.frameworks.status` says.

    With `?wait=10` the answer is sent when the execution has ended, or after 10 s. An execution that does not exist has
    404. Everyone that may make this request may see results and errors, so give the router dependencies that
    authenticate: `app.include_router(router, dependencies=[...])`.

    Args:
        functions: the functions whose executions are shown; all by default.
    """
    router = APIRouter(tags=["executions"])
    # Requests that wait do not take the threads of the other endpoints.
    limiter = CapacityLimiter(MOST_WAITING)

    @router.get("/{id:path}", name=_ROUTE)
    async def execution(
        id: str, resonate: Client, wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT_S)] = 0
    ) -> JSONResponse:
        ask = partial(status_of, resonate, id, functions=functions, wait_s=wait)
        status = await to_thread.run_sync(ask, limiter=limiter)
        if status is None:
            raise HTTPException(404, "the execution was not found")
        return JSONResponse(status)

    del execution  # the router has it
    return router


def accepted(request: Request, id: str) -> JSONResponse:
    """Return the answer to a start: 202, with the address of the status as `Location` and in the body.

    It does not read the execution. If the id existed with other arguments, the answer is the same: docs/frameworks.md
    says how to refuse that.

    Args:
        request: the request that has started the execution.
        id: the id of the execution.

    Raises:
        starlette.routing.NoMatchFound: the application does not include `executions_router`.
    """
    # Only path and root path: the host may be that of a proxy.
    address = request.url_for(_ROUTE, id=quote(id, safe="/")).path
    return JSONResponse({"id": id, "status_url": address}, status_code=202, headers={"Location": address})
