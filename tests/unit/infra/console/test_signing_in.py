"""The console of a server that requires tokens."""

from __future__ import annotations

import re

from tests.support.console_demo import MONDAY
from tests.support.console_pages import Pages, problem_in
from tests.support.tokens import token


def test_pages_are_hidden_without_a_token() -> None:
    pages = Pages("none")
    pages.shop.begin("a", MONDAY)
    for path in ("/executions", "/execution?id=a", "/people", "/workers", "/start", "/export?id=a"):
        page = pages.get(path)
        assert "<h1>Sign in</h1>" in page
        assert "order" not in page


def test_user_sees_what_the_token_may_see() -> None:
    pages = Pages("none")
    pages.shop.begin("tenant-1", MONDAY)
    pages.shop.step("tenant-1.1", "f", MONDAY, 1)
    pages.shop.begin("other-1", MONDAY)
    assert pages.sign_in(token(prefix="tenant-", exp=MONDAY // 1000 + 60)).status_code == 303
    (cookie,) = pages.client.cookies.jar
    assert (cookie.path, cookie.has_nonstandard_attr("HttpOnly")) == ("/console", True)
    assert cookie.get_nonstandard_attr("SameSite") == "strict"

    assert "tenant-1 running" in pages.text("/execution?id=tenant-1")
    assert "tenant-1" in pages.text("/executions?id=tenant-")
    denied = "Your token does not permit this. If it permits some ids, filter by the beginning of the id."
    assert problem_in(pages.get("/execution?id=other-1", 403)) == denied
    assert problem_in(pages.get("/executions", 403)) == denied

    found = re.search(r'name="token" value="(\w+)"', pages.get("/execution?id=tenant-1"))
    assert found is not None
    pages.client.request("POST", "/console/sign-out", data={"token": found[1]})
    assert "<h1>Sign in</h1>" in pages.get("/execution?id=tenant-1")


def test_token_that_is_not_valid_is_refused() -> None:
    pages = Pages("none")
    for jwt, problem in {"": "Give a token.", "nonsense": "The server does not accept this token"}.items():
        response = pages.sign_in(jwt)
        assert response.status_code == 401
        assert problem_in(response.text).startswith(problem)
