"""Program of a Lambda function with the Tracer of Powertools, whose process the test starts."""

from collections.abc import Generator
from typing import Any

from aws_lambda_powertools import Tracer

from resonate import Context, Resonate
from resonate.aws_lambda.powertools import PowertoolsInterceptor
from resonate.payloads import codec
from resonate.retry_policies import Constant
from resonate_store.local.memory import MemoryStore
from resonate_store.model.requests import PromiseCreate
from resonate_store.model.tags import FUNC, TARGET
from tests.support.steps import execute

tracer = Tracer(service="orders")
store = MemoryStore()
resonate = Resonate(store=store, interceptors=[PowertoolsInterceptor(tracer=tracer)], log_level="CRITICAL", workers=4)


def charge(ctx: Context) -> str:
    if ctx.info.attempt == 1:
        raise ValueError("declined")
    return "paid"


def pack(_: Context) -> str:
    return "packed"


async def look_up(_: Context) -> str:
    return "found"


@resonate.register
def order(ctx: Context) -> Generator[Any, Any, list[str]]:
    packing = yield ctx.begin_run(pack)
    paid = yield ctx.run(charge).options(retry_policy=Constant(0, max_retries=1))
    return [paid, (yield packing), (yield ctx.run(look_up))]


assert resonate.run("w", order) == ["paid", "packed", "found"]
resonate.stop()

creation = PromiseCreate("v", 2**46, codec.encode_call("order", (), {}, 1), {TARGET: "lambda://worker", FUNC: "order"})
assert store.apply(creation).ok
worker = resonate.handler()


@tracer.capture_lambda_handler
def handler(event: Any, context: Any) -> Any:
    return worker(event, context)


assert handler(execute("v"), None) == {"status": "completed"}
