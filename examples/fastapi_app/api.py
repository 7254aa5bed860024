"""API of a shop with FastAPI, and the worker of its orders in the same process."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, Any

from fastapi import FastAPI, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from resonate import Context, Resonate
from resonate.interceptors import InboundCall, Interceptor, OutboundCall
from resonate_infra.frameworks.fastapi import Client, accepted, executions_router, lifespan

tenant: ContextVar[str] = ContextVar("tenant", default="public")


class Tenants(Interceptor):
    """Passes the tenant of a request on to the workflow and its steps."""

    def outbound(self, call: OutboundCall) -> None:
        call.headers.setdefault("tenant", tenant.get())

    @contextmanager
    def inbound(self, call: InboundCall) -> Generator[None]:
        tenant.set(call.headers["tenant"])
        yield


resonate = Resonate(group="shop", interceptors=[Tenants()])


@resonate.register
def fulfil(ctx: Context, item: str) -> Generator[Any, Any, dict[str, str]]:
    yield ctx.publish("progress", "packing")
    parcel = yield ctx.run(pack, item)
    yield ctx.publish("progress", "waiting for the carrier")
    yield ctx.sleep(2)
    return {"parcel": parcel}


def pack(_: Context, item: str) -> str:
    print(f"packing {item} for {tenant.get()}", flush=True)
    return f"{item} of {tenant.get()}"


class Order(BaseModel):
    number: int
    item: str


app = FastAPI(lifespan=lifespan(resonate))
app.include_router(executions_router(functions=["fulfil"]), prefix="/executions")


@app.post("/orders", status_code=202)
def order(
    order: Order, request: Request, resonate: Client, x_tenant: Annotated[str, Header()] = "public"
) -> JSONResponse:
    tenant.set(x_tenant)
    id = f"parcel-{order.number}"
    resonate.begin_rpc(id, fulfil, order.item)
    return accepted(request, id)
