"""FastAPI applications that start executions, serve them and show their status."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from resonate import Resonate
from resonate_infra.frameworks.fastapi import LONGEST_WAIT_S, Client, accepted, client, executions_router, lifespan
from tests.unit.infra.frameworks.shop import shop


def application(resonate: Resonate) -> FastAPI:
    app = FastAPI(lifespan=lifespan(resonate))

    def authenticate(request: Request) -> None:
        if request.headers.get("authorization") != "Bearer ada":
            raise HTTPException(401)

    app.include_router(
        executions_router(functions=["order"]), prefix="/executions", dependencies=[Depends(authenticate)]
    )

    @app.post("/orders/{item}")
    def start(item: str, request: Request, resonate: Client) -> JSONResponse:
        id = f"order/{item} ?#%"
        resonate.begin_rpc(id, "order", item)
        return accepted(request, id)

    return app


@pytest.fixture
def web(resonate: Resonate) -> Iterator[TestClient]:
    with TestClient(application(resonate), headers={"authorization": "Bearer ada"}, root_path="/shop") as web:
        yield web


def test_start_is_accepted_and_its_status_is_shown(web: TestClient, resonate: Resonate) -> None:
    started = web.post("/orders/tea")
    address = started.headers["location"]
    assert (started.status_code, started.json()) == (202, {"id": "order/tea ?#%", "status_url": address})
    assert address == "/shop/executions/order/tea%20%3F%23%25"

    first = web.get(address, params={"wait": 0.2}).json()
    assert (first["state"], first["published"]) == ("pending", {"progress": 40})
    resonate.promises.resolve(id="approval-tea")
    ended = web.get(address, params={"wait": 10}).json()
    assert (ended["state"], ended["result"]) == ("resolved", {"sent": "tea"})


def test_status_refuses_what_is_not_shown(web: TestClient, resonate: Resonate) -> None:
    resonate.run("secret", "secret")
    assert web.get("/executions/secret").status_code == 404
    assert web.get("/executions/missing").status_code == 404
    assert web.get(f"/executions/missing?wait={LONGEST_WAIT_S + 1}").status_code == 422
    assert web.get("/executions/missing", headers={"authorization": "no"}).status_code == 401


def test_worker_ends_with_its_application(resonate: Resonate) -> None:
    def timers() -> int:
        return [thread.name for thread in threading.enumerate()].count("resonate-time")

    before = timers()
    with TestClient(application(resonate)):
        assert timers() == before + 1
    assert timers() == before


def test_client_can_be_overridden(resonate: Resonate) -> None:
    app = application(shop())
    app.dependency_overrides[client] = lambda: resonate
    web = TestClient(app)  # its lifespan does not begin

    assert web.post("/orders/tea").status_code == 202
    assert resonate.executions.get("order/tea ?#%").function == "order"


def test_application_without_lifespan_is_named() -> None:
    app = FastAPI()

    @app.post("/orders")
    def start(resonate: Client) -> str:
        return resonate.group

    with pytest.raises(RuntimeError, match=r"FastAPI\(lifespan=lifespan\(resonate\)\)"):
        TestClient(app).post("/orders")


def test_status_is_in_the_openapi_document(resonate: Resonate) -> None:
    paths = application(resonate).openapi()["paths"]
    assert urlsplit(next(path for path in paths if path.startswith("/executions"))).path == "/executions/{id}"
