"""Addresses of messages (docs/protocol.md 2.4)."""

from __future__ import annotations

import pytest

from resonate_store.model.addresses import (
    FunctionVersion,
    Poll,
    expand,
    group_of,
    pinned_of,
    poll_of,
    problem_with,
    route,
)
from tests.support.present import present

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:worker"


def test_problem_with_a_valid_address_is_none(subtests: pytest.Subtests) -> None:
    for address in [
        *("poll://any@workers", "poll://any@workers/pid-1", "poll://uni@workers/pid-1", "poll://any@a.b_c-d"),
        *("poll://any@what%3F/no%231", "http://localhost:9000", "http://localhost:9000/"),
        *("https://example.com/path?x=1#y", "https://user@example.com", "https://[::1]:8080/x", "lambda://worker"),
        *("lambda://Stack-worker_1:live", "lambda://worker:$LATEST", f"lambda://{ARN}", f"lambda://{ARN}:7"),
    ]:
        with subtests.test(address=address):
            assert problem_with(address) is None
            assert expand(address) == address


def test_problem_with_an_invalid_address_names_it(subtests: pytest.Subtests) -> None:
    for address in [
        *("", "workers", "poll://", "poll://workers", "poll://any@", "poll://any@/pid", "poll://any@workers/"),
        *("poll://any@workers/pid/more", "poll://all@workers", "poll://uni@workers/a b", "poll://any@work ers"),
        *("poll://any@workers\n", "poll://any@workers?x", "poll://any@workers#x", "poll://any@workers/pid?x=1"),
        *("poll://uni@workers/pid#x", "POLL://any@workers", "http://", "http:///path", "https://?x"),
        *("https://exa mple.com", "https://[::1", "https://example.com:port", "https://example.com:99999"),
        *("https://:8080", "https://example.com\n", "ftp://example.com", "local://any@default", " poll://any@workers"),
        *("gcps://project/topic", "bash://script", "lambda://", "lambda://a b", "lambda://worker:"),
        *("lambda://worker/path", "lambda://arn:aws:lambda:eu-west-1:123456789012:layer:worker"),
    ]:
        with subtests.test(address=address):
            problem = problem_with(address)
            assert problem is not None
            assert repr(address) in problem
            assert "poll://any@group" in problem


def test_problem_with_a_uni_address_without_a_process_names_it() -> None:
    problem = problem_with("poll://uni@workers")
    assert problem is not None
    assert "names no process" in problem
    assert "poll://uni@group/pid" in problem


def test_expand_of_a_bare_name_is_its_group() -> None:
    assert expand("workers") == "poll://any@workers"
    assert problem_with(expand("workers")) is None


def test_group_of_a_poll_address_is_named(subtests: pytest.Subtests) -> None:
    for address, group in [
        ("poll://any@workers", "workers"),
        ("poll://any@workers/p", "workers"),
        ("poll://uni@workers/p", "workers"),
        ("http://any@workers", None),
        ("lambda://workers", None),
    ]:
        with subtests.test(address=address, group=group):
            assert group_of(address) == group


def test_route_of_a_group_is_its_mapped_address() -> None:
    groups = {"workers": "lambda://Stack-worker"}
    assert route("poll://any@workers", groups) == "lambda://Stack-worker"
    assert route("poll://any@workers/p1", groups) == "lambda://Stack-worker"
    assert route("poll://any@others", groups) is None
    assert route("https://example.com", groups) == "https://example.com"
    assert route("lambda://workers", {}) == "lambda://workers"


def test_poll_of_an_address_has_its_parts(subtests: pytest.Subtests) -> None:
    for address, poll in [
        ("poll://any@g", Poll("any", "g", None)),
        ("poll://any@g/1", Poll("any", "g", "1")),
        ("poll://uni@a%2Fb/x%20y", Poll("uni", "a/b", "x y")),
        ("poll://any@what%3F/no%231", Poll("any", "what?", "no#1")),
        ("lambda://g", None),
        ("http://uni@g/1", None),
    ]:
        with subtests.test(address=address, poll=poll):
            assert poll_of(address) == poll


def test_version_of_a_function_is_read_from_its_address() -> None:
    address = "lambda://Stack-worker_1:17"
    version = present(pinned_of(address))
    assert version == FunctionVersion("Stack-worker_1", "17")
    assert version.address == address
    others = (
        "lambda://worker",
        "lambda://worker:live",
        "lambda://worker:$LATEST",
        "lambda://worker:0",
        "lambda://w:7x",
    )
    assert [pinned_of(each) for each in (*others, f"lambda://{ARN}:7", "poll://any@worker")] == [None] * 7
