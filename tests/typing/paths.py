"""Import lines of SDK 0.6.7, as type checkers see them."""

from collections.abc import Generator
from typing import Any, assert_type

from resonate import Context, Resonate
from resonate.clocks import StepClock
from resonate.coroutine import Yieldable
from resonate.errors.errors import ResonateStoreError
from resonate.models.clock import Clock
from resonate.models.durable_promise import DurablePromise
from resonate.models.handle import Handle
from resonate.models.logger import Logger
from resonate.models.result import Ko, Ok, Result
from resonate.models.retry_policy import RetryPolicy
from resonate.models.store import Store
from resonate.models.task import Task
from resonate.retry_policies.constant import Constant
from resonate.stores.local import LocalStore
from resonate.stores.remote import RemoteStore

resonate = Resonate()


@resonate.register
def workflow(ctx: Context, n: int) -> Generator[Yieldable, Any, int]:
    logger: Logger = ctx.logger
    logger.info("begins")
    yield ctx.sleep(1)
    return n


handle: Handle[int] = resonate.begin_run("a", workflow, 1)
policy: RetryPolicy = Constant()
clock: Clock = StepClock()


def outcome(result: Result[int]) -> int:
    match result:
        case Ok(value):
            return value
        case Ko(error):
            raise error


def claim(store: Store) -> Task | None:
    promise, task = store.promises.create_with_task("p", 1, "pid", 1)
    assert_type(promise, DurablePromise)
    return task


try:
    claim(LocalStore())
    claim(RemoteStore())
except ResonateStoreError as error:
    assert_type(error.code, float)
