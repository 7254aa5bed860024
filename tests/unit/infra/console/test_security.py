"""What protects the console from other pages."""

from __future__ import annotations

import pytest

from resonate_infra.console.security import POLICY, SignedIn
from tests.support.console_pages import Pages

OWN = "http://localhost:8001"
HALT = {"id": "a"}


def test_responses_have_a_strict_policy(pages: Pages) -> None:
    for path in ("/console/executions", "/console/static/console.css", "/console/nothing", "/console/execution?id=no"):
        headers = pages.client.request("GET", path).headers
        assert headers["content-security-policy"] == POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none'; script-src 'self'; style-src 'self';")


@pytest.mark.parametrize(
    ("host", "status"), [("127.0.0.1:8001", 200), ("[::1]:9", 200), ("evil.example", 403), ("", 403)]
)
def test_console_answers_to_names_of_this_machine(pages: Pages, host: str, status: int) -> None:
    assert pages.client.request("GET", "/console/executions", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "admitted"),
    [
        ({"Origin": OWN, "Sec-Fetch-Site": "same-origin"}, True),
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, True),
        ({}, True),
        ({"Origin": "null"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": OWN, "Sec-Fetch-Site": "cross-site"}, False),
    ],
)
def test_own_pages_may_write(pages: Pages, headers: dict[str, str], admitted: bool) -> None:
    response = pages.post("/execution/halt", HALT, headers=headers)
    assert response.status_code == (404 if admitted else 403)


@pytest.mark.parametrize("token", ["", "wrong", "ü"])
def test_form_without_the_token_is_refused(pages: Pages, token: str) -> None:
    status, problem = pages.refused("/execution/halt", {"token": token, **HALT})
    assert (status, problem) == (403, "Reload the page, and send it again.")


def test_token_is_in_forms_and_not_in_addresses(pages: Pages) -> None:
    page = pages.get("/start")
    token = page.partition('name="token" value="')[2].partition('"')[0]
    assert len(token) == 32
    assert page.count(token) == page.count(f'value="{token}"')
    assert Pages().get("/start").partition('name="token" value="')[2].partition('"')[0] != token


def test_write_by_a_link_is_not_answered(pages: Pages) -> None:
    assert pages.client.request("GET", "/console/execution/halt?id=a").status_code == 405
    body = b'{"id": "a"}'
    headers = {"Content-Type": "application/json"}
    response = pages.client.request("POST", "/console/execution/halt", content=body, headers=headers)
    assert response.status_code == 413


def test_oldest_user_is_signed_out_beyond_the_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SignedIn, "MOST", 2)
    users = SignedIn()
    ids = [users.add(token) for token in ("a", "b", "c")]
    assert [users.token(id) for id in ids] == [None, "b", "c"]
    users.remove(ids[1])
    assert users.token(ids[1]) is None
