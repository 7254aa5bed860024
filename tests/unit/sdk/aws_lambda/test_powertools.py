"""Logger and Tracer of Powertools in the functions of a Lambda handler."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

from aws_lambda_powertools import Logger

from resonate import Context, Resonate
from resonate.aws_lambda.powertools import PowertoolsInterceptor
from resonate.retry_policies import Constant

ROOT = Path(__file__).parents[4]
PROGRAM = Path(__file__).with_name("powertools_program.py")
KEYS = ("message", "execution_id", "promise_id", "function", "attempt", "correlation_id", "tenant")


def test_lines_of_functions_have_keys() -> None:
    lines = io.StringIO()
    logger = Logger(service="orders", stream=lines, level="INFO")
    interceptor = PowertoolsInterceptor(logger=logger, header_keys={"tenant": "tenant"})
    resonate = Resonate.local(interceptors=[interceptor], workers=4)

    def flaky(ctx: Context) -> None:
        logger.info("flaky")
        if ctx.info.attempt == 1:
            raise ValueError("again")

    async def reading(_: Context) -> None:
        logger.info("reading")

    @resonate.register
    def order(ctx: Context) -> Generator[Any, Any, None]:
        begun = yield ctx.begin_run(reading)
        yield ctx.run(flaky).options(retry_policy=Constant(0, max_retries=1))
        yield begun
        yield ctx.rpc("ship").options(tags={"resonate:header:tenant": "acme"})
        logger.info("order")

    @resonate.register
    def ship(_: Context) -> None:
        logger.info("ship")

    logger.set_correlation_id("request-1")
    try:
        handle = resonate.begin_rpc("w", order)
        logger.set_correlation_id(None)
        handle.result()
        logger.info("outside")
    finally:
        resonate.stop()

    written = [json.loads(line) for line in lines.getvalue().splitlines()]
    shown = sorted([line.get(key) for key in KEYS] for line in written if line["message"] != "outside")
    assert shown == [
        ["flaky", "w", "w.2", "flaky", 1, "request-1", None],
        ["flaky", "w", "w.2", "flaky", 2, "request-1", None],
        ["order", "w", "w", "order", 1, "request-1", None],
        ["reading", "w", "w.1", "reading", 1, "request-1", None],
        ["ship", "w", "w.3", "ship", 1, "request-1", "acme"],
    ]
    assert [line.get("execution_id") for line in written if line["message"] == "outside"] == [None]


def test_steps_are_subsegments_in_lambda() -> None:
    """The program runs as in Lambda, with a receiver of datagrams in the place of the X-Ray daemon."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(10)
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LAMBDA_TASK_ROOT": str(ROOT),
            "_X_AMZN_TRACE_ID": "Root=1-67891233-abcdef012345678912345678;Parent=463ac35c9f6413ad;Sampled=1",
            "AWS_XRAY_DAEMON_ADDRESS": f"127.0.0.1:{daemon.getsockname()[1]}",
        }
        done = subprocess.run([sys.executable, PROGRAM], env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        sent = [json.loads(daemon.recv(65_536).partition(b"\n")[2]) for _ in range(7)]

    steps = [each for each in sent if each["name"] != "## handler"]
    for id in ("w", "v"):
        own = [each for each in steps if each["annotations"]["execution_id"] == id]
        shown = sorted((each["name"], each["annotations"]["attempt"], "fault" in each) for each in own)
        assert shown == [("## charge", 1, True), ("## charge", 2, False), ("## pack", 1, False)]
    assert {(each["trace_id"], each["type"]) for each in sent} == {
        ("1-67891233-abcdef012345678912345678", "subsegment")
    }
    # A step in the thread of the handler is below its subsegment.
    (handler,) = [each["id"] for each in sent if each["name"] == "## handler"]
    assert handler in {each["parent_id"] for each in steps if each["annotations"]["execution_id"] == "v"}
