"""More of the commonest mistakes: what programs do to executions from outside, settings, and what holds for a process.

The table is that of `tests.support.mistakes`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from moto import mock_aws

from resonate import Resonate
from resonate.encryption import AESGCMEncryptor
from resonate.testing import MemoryStack
from tests.support.command_line import CommandLine
from tests.support.mistakes import MISTAKES, WARNING, client, run, says, step

__all__ = ["MISTAKES"]


@contextlib.contextmanager
def environment(**variables: str) -> Generator[None]:
    """Set exactly these environment variables."""
    with patch.dict(os.environ, variables, clear=True):
        yield


def sleeps(ctx: Any) -> Any:
    yield ctx.sleep(60)


# Histories


@says("Stuck", "its task is halted", "was run step when it first ran and is now run other", "must repeat its steps")
def changed_code() -> None:
    runs: list[int] = []

    def other(ctx: Any) -> None: ...

    def flow(ctx: Any) -> Any:
        runs.append(1)
        yield ctx.run(step if len(runs) == 1 else other)  # here
        yield ctx.sleep(60)

    run(flow)


@says("Stuck", "flow catches GeneratorExit", "write `except Exception`")
def workflow_that_does_not_end_when_it_is_closed() -> None:
    def flow(ctx: Any) -> Any:
        for _ in range(11):  # once more than it is closed
            with contextlib.suppress(BaseException):
                yield ctx.sleep(60)

    run(flow)


@says("ProgramError", "w.1 runs inside of the execution w", "call this function by ctx.rpc")
def continuation_of_a_nested_call() -> None:
    def inner(ctx: Any) -> Any:
        yield ctx.run(step)
        return ctx.continue_as()  # here

    def flow(ctx: Any) -> Any:
        yield ctx.run(inner)

    MemoryStack().start(flow, id="w").result()


@says("ProgramError", "not ContinueAs", "write `return ctx.continue_as(...)`")
def continuation_that_is_yielded() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.continue_as()  # here

    run(flow)


@says(WARNING, "flow called ctx.continue_as and returned something else", "write `return ctx.continue_as(...)`")
def continuation_that_is_not_returned() -> None:
    def flow(ctx: Any) -> Any:  # here
        yield ctx.run(step)
        ctx.continue_as()

    run(flow)


@says("ForeignPromiseError", "Promise(id='one.1', cid='one') belongs to another", "ctx.promise(id=...)")
def promise_of_another_execution() -> None:
    kept: list[Any] = []

    def one(ctx: Any) -> Any:
        kept.append((yield ctx.promise()))

    def two(_: Any) -> Any:
        yield kept[0]  # here

    stack = MemoryStack()
    stack.start(one, id="one")
    stack.run(two)


@says("ResonateStoreError", "'poll://any@http//ship' is not an address", "use poll://any@group")
def target_that_is_not_an_address() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.rpc("ship").options(target="http//ship")  # here

    run(flow)


@says("ArgumentValueError", "target 'lambda:ship' is not an address", "write lambda://...")
def target_without_its_slashes() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.rpc("ship").options(target="lambda:ship")  # here

    run(flow)


@says("Stuck", "offered to poll://any@nowhere, which nobody serves", "register ship, or stack.mock('ship', function)")
def target_that_nobody_serves() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.rpc("ship").options(target="nowhere")

    run(flow)


@says("ArgumentTypeError", "name must be `str`, got int")
def receive_with_a_name_of_the_wrong_type() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.receive(5)  # here

    run(flow)


# Clients


@says("ResonateStoreError", "[100.40301] The specified promise is already resolved")
def promise_that_is_settled_twice() -> None:
    promises = client().promises
    promises.create("p", timeout=sys.maxsize)
    promises.resolve("p", value=1)
    promises.reject("p", value=2, strict=True)  # here


@says(WARNING, "w exists with other arguments", "this call gets its result", "give another id to run step again")
def id_that_is_used_again() -> None:
    resonate = client(step)
    resonate.run("w", step, 1)
    resonate.run("w", step, 2)  # here


@says(WARNING, "w exists and calls step, not sleeps", "its result is that of step")
def id_of_another_function() -> None:
    resonate = client(step, sleeps)
    resonate.run("w", step)
    resonate.run("w", sleeps)


@says("ArgumentValueError", "the id is empty", "give 1 to 1000 bytes of UTF-8")
def empty_id() -> None:
    client(step).run("", step)  # here


@says("ResonateStoreError", "Invalid cron expression '61 * * * *'", "the minute field '61' is wrong", "from 0 to 59")
def cron_expression_out_of_range() -> None:
    client(step).schedule("daily", step, "61 * * * *")  # here


@says("ResonateStoreError", "unknown time zone 'Europe/Berln'", "such as 'Europe/Berlin'")
def unknown_time_zone() -> None:
    client(step).options(timezone="Europe/Berln").schedule("daily", step, "0 7 * * *")  # here


@says("ResonateStoreError", "Schedule already exists with another cron", "schedules.update('daily', ...) changes it")
def schedule_that_exists() -> None:
    resonate = client(step)
    resonate.schedule("daily", step, "0 7 * * *")
    resonate.schedule("daily", step, "0 8 * * *")  # here


@says("ReceiverEndedError", "execution 'w' is resolved and takes no more messages")
def message_to_an_execution_that_has_ended() -> None:
    resonate = client(step)
    resonate.run("w", step)
    resonate.send("w", "note", "hello")  # here


@says("ReceiverNotFoundError", "there is no execution 'w'", "check the id")
def message_to_an_unknown_execution() -> None:
    client().send("w", "note", "hello")  # here


@says("ResonateStoreError", "[100.40400] Promise not found", "check the id, 'w'")
def cancellation_of_an_unknown_execution() -> None:
    client().cancel("w")  # here


@says("ForkError", "w", "9")
def fork_from_a_command_that_does_not_exist() -> None:
    resonate = client(sleeps)
    resonate.begin_run("w", sleeps)
    resonate.executions.fork("w", from_command=9)  # here


@says("ResonateShutdownError", "stopped while waiting for w")
def result_that_is_awaited_after_stop() -> None:
    resonate = client()
    resonate.promises.create("w", timeout=sys.maxsize)
    handle = resonate.get("w")
    future = handle.future
    resonate.stop()
    future.result(60)


# Settings, keys and events


@says("DecryptionError", "cannot decrypt", "the key 'k' of this process is another one")
def wrong_encryption_key() -> None:
    writer = client(step, encryptor=AESGCMEncryptor({"k": b"a" * 32}))
    writer.run("w", step)
    Resonate(store=writer.store, encryptor=AESGCMEncryptor({"k": b"b" * 32})).get("w")  # here


@says("PayloadError", "its value cannot be read", "give this program the key, Resonate(encryptor=...)")
def missing_encryption_key() -> None:
    writer = client(step, encryptor=AESGCMEncryptor({"k": b"a" * 32}))
    writer.run("w", step)
    Resonate(store=writer.store).get("w").result()  # here


@says("ArgumentTypeError", "keys must be `Mapping`, by their ids, such as", "got bytes")
def encryption_key_without_its_id() -> None:
    keys: Any = b"a" * 32
    AESGCMEncryptor(keys)  # here


@says("MalformedEvent", "a worker accepts messages of the kind 'execute', not None", "resonate.begin_rpc")
def handler_with_an_event_of_its_own() -> None:
    client(step).handler()({"name": "ada"}, None)  # here


@says("StoreError", "DynamoDB needs a region", "set AWS_DEFAULT_REGION")
def missing_region() -> None:
    with environment(RESONATE_TABLE="orders"):
        Resonate().get("w")  # here


@says("StoreError", "orders", "table")
def missing_table() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "eu-central-1"}
    with environment(RESONATE_TABLE="orders", **keys), mock_aws():
        Resonate().get("w")  # here


@says("SettingsError", "RESONATE_GROUPS must be a JSON object such as")
def malformed_variable() -> None:
    with environment(RESONATE_TABLE="orders", RESONATE_GROUPS="worker"):
        Resonate()  # here


@says("MissingExtra", "the table 'orders' of RESONATE_TABLE needs botocore", "pip install 'resonate-serverless[aws]'")
def missing_extra() -> None:
    with environment(RESONATE_TABLE="orders"), patch.dict(sys.modules, {"botocore": None}):
        Resonate()  # here


@says("StoreUnreachable", "http://localhost:1 cannot be reached")
def server_that_does_not_run() -> None:
    Resonate.remote(url="http://localhost:1", timeout=1).get("w")  # here


# The command line


@says("output", "warning: resonate-sdk 0.6.7", "both are imported as `resonate`", "pip uninstall resonate-sdk")
def official_sdk_beside_this_one() -> str:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "resonate_sdk-0.6.7.dist-info").mkdir()
        with patch.object(sys, "path", [folder, *sys.path]):
            return CommandLine().run("--version").err


@says("output", "flow.py:3", "RS005", "ctx.sleep")
def sleep_of_the_process_in_a_workflow() -> str:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "flow.py")
        source.write_text("import time\ndef flow(ctx):\n    time.sleep(5)\n    yield ctx.sleep(1)\n")
        return CommandLine().run("lint", str(source)).out


@says("output", "error: http://localhost:1 cannot be reached")
def server_that_does_not_run_on_the_command_line() -> str:
    return CommandLine().run("promises", "get", "w", "--url", "http://localhost:1").err
