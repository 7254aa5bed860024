"""Texts that say what an execution waits for, in all commands that show them."""

from __future__ import annotations

from resonate.payloads.codec import encode_error
from resonate_infra.server.assembly import Server
from resonate_store.model.requests import PromiseCreate
from resonate_store.model.tags import BRANCH, ORIGIN, PARENT, TARGET, TIMER
from tests.support.command_line import CommandLine
from tests.support.server_api import Api
from tests.unit.infra.cli.conftest import FAILED, NO_WORKER, Suspend


def test_executions_show_what_they_wait_for(resonate: CommandLine, suspend: Suspend, id: str) -> None:
    tags = {"test": id}
    suspend(f"{id}-0", error=ValueError("cannot do 1"), tags=tags)
    suspend(f"{id}-1", tags=tags)
    resonate.ok("invoke", f"{id}-2", "-f", "order", "-t", "svcc", "--tag", f"test={id}")
    resonate.ok("invoke", f"{id}-3", "-f", "double", "-a", "1", "-t", "worker", "--tag", f"test={id}", "--wait")
    waits = {f"{id}-0": f"{id}-0.1: {FAILED}", f"{id}-1": f"{id}-1.1: {NO_WORKER}", f"{id}-2": NO_WORKER}

    found = resonate.json("executions", "list", "--tag", f"test={id}")["executions"]
    assert {each["id"]: each["waits"] for each in found} == {**waits, f"{id}-3": None}
    listed = resonate.ok("executions", "list", "--tag", f"test={id}").out
    assert [text for text in waits.values() if text not in listed] == []


def test_tree_shows_that_no_worker_of_the_target_is_connected(resonate: CommandLine, suspend: Suspend, id: str) -> None:
    suspend(id)

    assert resonate.ok("tree", id).out.splitlines()[1].rstrip().endswith(f"  {NO_WORKER}")
    root = resonate.json("tree", id)
    assert (root["waits"], root["children"][0]["waits"]) == (None, NO_WORKER)


def test_tree_over_a_table_shows_the_target(over_table: CommandLine, id: str) -> None:
    over_table.ok("invoke", id, "-f", "order", "-t", "svcc")
    over_table.ok("invoke", f"{id}-lambda", "-f", "order", "-t", "lambda://f")

    assert over_table.json("tree", id)["waits"] == "waiting for a worker of svcc"
    assert over_table.json("tree", f"{id}-lambda")["waits"] == "waiting for lambda://f to take it"


def test_tree_shows_the_attempts_of_an_execution_itself(server: Server, resonate: CommandLine, id: str) -> None:
    target = {ORIGIN: id, BRANCH: id, TARGET: "poll://any@svcc", "resonate:func": "f"}
    timer = {ORIGIN: id, BRANCH: id, PARENT: id, TIMER: "true"}
    assert server.store.apply(PromiseCreate(id, 2**52, tags=target)).ok
    assert server.store.apply(PromiseCreate(f"{id}.0~1", 2**52, encode_error(ValueError("no")), timer)).ok

    root = resonate.json("tree", id)
    assert (root["waits"], root["children"]) == ("attempt 1 failed: ValueError: no; next at never", [])


def test_invoke_shows_that_no_worker_of_the_target_is_connected(
    resonate: CommandLine, over_table: CommandLine, server: Server, id: str
) -> None:
    waiting = ("invoke", id, "-f", "order", "-t", f"group-{id}", "--wait", "--wait-timeout", "0")
    waits = f"{id}: pending, version 0, waiting for a worker of group-{id}"

    place = f"the server http://localhost:{server.port}"
    assert resonate.run(*waiting).err.splitlines()[0] == f"{waits}; none is connected to {place}"
    assert over_table.run(*waiting).err.splitlines()[0] == waits
    with Api(f"http://localhost:{server.port}").poll(f"group-{id}", "1"):
        assert resonate.run(*waiting).err.splitlines()[0] == waits


def test_invoke_shows_why_and_when_a_step_is_retried(resonate: CommandLine, suspend: Suspend, id: str) -> None:
    suspend(id, error=ValueError("cannot do 1"))
    ran = resonate.run("invoke", id, "-f", "f", "--wait", "--wait-timeout", "0")

    assert ran.err.splitlines()[0] == f"{id}: suspended, version 1, {id}.1: {FAILED}"
