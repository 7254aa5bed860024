"""Attacks on the console by requests: of other web pages, and of users with too few rights.

Each row of a table is one attack.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest

from resonate.payloads.codec import encode
from resonate_infra.console.application import COOKIE, console
from resonate_infra.console.backend import ConsoleSession, ServerBackend, TableBackend
from resonate_infra.console.security import HEADERS
from resonate_infra.console.visit import Visit
from resonate_store.model.clock import ManualClock
from resonate_store.model.message_requests import MessageSend
from resonate_store.model.records import EMPTY
from resonate_store.model.requests import PromiseGet, TaskGet
from resonate_store.model.schedule_requests import ScheduleCreate
from resonate_store.model.servers import ServerSettings
from resonate_store.model.tags import FUNC, TARGET
from tests.support.console_demo import HOUR, MONDAY, many_steps
from tests.support.console_pages import Browser, Pages, problem_in, rows_in
from tests.support.present import present
from tests.support.tokens import token

OWN = "http://localhost:8001"
FOREIGN = "http://evil.example"
SMALL = 400_000
"""No page may be larger (characters)."""
HUGE = "9" * 9_000
TOKENS: dict[str, Callable[[Pages], str | None]] = {
    "right": Pages.token,
    "none": lambda _: None,
    "empty": lambda _: "",
    "wrong": lambda _: "0" * 32,
    "of an earlier start": lambda _: Pages().token(),
    "in part": lambda pages: pages.token()[:-1],
    "in capitals": lambda pages: pages.token().upper() + "x",
}
FORM = "application/x-www-form-urlencoded"
FORGED: list[tuple[str, str, dict[str, str], int]] = [
    *(("POST", name, {}, 403) for name in TOKENS if name != "right"),
    ("POST", "none", {"Referer": f"{FOREIGN}/"}, 403),
    *(
        ("POST", "right", headers, 403)
        for headers in (
            {"Origin": FOREIGN},
            {"Origin": "null"},
            {"Origin": ""},
            {"Origin": "http://localhost:9999"},
            {"Origin": "http://localhost"},
            {"Origin": "http://localhost:8001.evil.example"},
            {"Origin": "http://evil.example:8001"},
            {"Origin": "ftp://localhost:8001"},
            {"Origin": f"{OWN} {FOREIGN}"},
            {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "none"},
            {"Origin": OWN, "Sec-Fetch-Site": "cross-site"},
            {"Origin": FOREIGN, "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"},
            {"Origin": FOREIGN, "Host": "evil.example"},
            {"Host": "evil.example"},
            {"Host": "evil.example", "X-Forwarded-Host": "localhost"},
        )
    ),
    *(
        ("POST", "right", {"Content-Type": kind}, 413)
        for kind in ("text/plain", "multipart/form-data; boundary=x", "application/json", f"text/plain; {FORM}", "")
    ),
    *((method, "right", {}, 405) for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")),
    *(("GET", "right", {name: "POST"}, 405) for name in ("X-HTTP-Method-Override", "X-Method-Override")),
]


@pytest.mark.parametrize(("method", "given", "headers", "status"), FORGED)
def test_forged_write_changes_nothing(
    pages: Pages, method: str, given: str, headers: dict[str, str], status: int
) -> None:
    pages.shop.begin("a", MONDAY)
    given_token = TOKENS[given](pages)
    body = "id=a&_method=POST" + ("" if given_token is None else f"&token={given_token}")
    path = f"/console/execution/halt?id=a&_method=POST&token={pages.token()}"  # In the address it does not count.
    response = pages.client.request(method, path, content=body, headers={"Content-Type": FORM, **headers})
    assert response.status_code == status
    assert present(pages.store.apply(TaskGet("a")).task).state == "acquired"
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evil.example:8001",
            "localhost@evil.example",
        ),
        *(
            "evil-localhost",
            "notlocalhost",
            "192.168.0.1",
            "10.0.0.1:8001",
            "0.0.0.0",
            "[::]",
            "[fe80::1]:8001",
            "2130706433",
        ),
        *(
            "localhost:8001:80",
            "localhost/evil.example",
            "localhost#evil",
            "localhost, evil.example",
            "localhost evil",
            "[::1",
        ),
    ],
)
def test_foreign_name_is_refused(pages: Pages, host: str) -> None:
    for headers in ({"Host": host}, {"Host": host, "X-Forwarded-Host": "localhost", "Origin": f"http://{host}"}):
        for method in ("GET", "POST"):
            response = pages.client.request(method, "/console/executions", headers=headers)
            assert response.status_code == 403
            assert "token" not in response.text
            assert response.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    "path",
    [
        *(
            "../application.py",
            "..%2fapplication.py",
            "%2e%2e/application.py",
            "..%5capplication.py",
            "console.css%00.py",
        ),
        *(
            "....//application.py",
            "%252e%252e%252fapplication.py",
            "/etc/passwd",
            "console.css/..%2f..",
            "console.css\\",
        ),
        *("htmx.LICENSE", "__init__.py", "", "CONSOLE.CSS", "file:///etc/passwd"),
    ],
)
def test_static_files_are_those_of_the_console(pages: Pages, path: str) -> None:
    response = pages.client.request("GET", f"{OWN}/console/static/{path}")
    assert response.status_code == 404
    assert not response.text or problem_in(response.text) == "The console has no page at this address."
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS


QUERIES = [
    *(
        f"/executions?since={text}"
        for text in ("9" * 400, "9" * 400 + "d", "1" * 20_000 + "x", "0001-01-01T00:00%2B23:59", "%00")
    ),
    *(f"/executions?{name}=(a%2B)%2B{'a' * 9_000}!" for name in ("func", "id", "tag", "since", "cursor", "state")),
    *(f"/executions?{name}=%00%ED%A0%80%ff" for name in ("func", "id", "tag", "cursor", "state", "notice", "part")),
    *(
        "/executions?id=%25",
        "/executions?id=*",
        "/executions?id=' or 1=1 --",
        "/executions?func=%25",
        "/executions?tag=%25=%25",
    ),
    *(
        "/execution?id=..%2f..%2fetc%2fpasswd",
        "/execution?id=%00",
        f"/execution?id={'a' * 9_000}",
        "/records?id=C:%5cx",
    ),
    *(
        "/execution?id=many&count=999999999",
        "/execution?id=many&part=rows&from=5&count=99999",
        "/execution?id=many&view=records",
    ),
    *("/execution?id=many&from=-1", f"/execution?id=many&from={'9' * 5_000}", "/execution?id=many&count=²&from=٣"),
    *(
        "/people?cursor=%F0%9F%98%80",
        "/schedules?cursor=..",
        "/payload?id=many&side=<b>",
        "/export?id=%00",
        "/start?func=%00",
    ),
    *("/executions?url=//evil.example&next=//evil.example", "//evil.example", "/%2f%2fevil.example", "/.evil.example"),
]


@cache
def long_execution() -> Pages:
    pages = Pages()
    many_steps(pages.shop, "many", MONDAY, 2_000)
    return pages


@pytest.mark.parametrize("path", QUERIES, ids=range(len(QUERIES)))
def test_query_has_a_small_answer_without_effect(path: str) -> None:
    pages = long_execution()
    response = pages.client.request("GET", f"{OWN}/console{path}")
    assert response.status_code in (200, 400, 404)
    assert len(response.text) < SMALL
    assert "location" not in response.headers
    if "%25" in path or "*" in path or "' or" in path:
        assert [row for row in rows_in(response.text) if len(row) > 1] == []


ORDER = {"func": "f", "target": "shop", "id": "new"}
FORMS: list[tuple[str, dict[str, str], int]] = [
    ("/start", {**ORDER, "timeout": "9" * 400 + "d"}, 400),
    ("/start", {**ORDER, "version": HUGE}, 400),
    ("/start", {**ORDER, "version": "²"}, 400),
    ("/start", {**ORDER, "args": r'["\ud800"]'}, 400),
    ("/start", {**ORDER, "args": "[" * 100_000}, 400),
    ("/start", {**ORDER, "args": "[" + "9" * 9_000 + "]"}, 400),
    ("/start", {**ORDER, "id": "a\0b"}, 400),
    ("/promise/settle", {"id": "a", "state": "resolved", "value": r'"\ud800"'}, 400),
    ("/execution/send", {"id": "a", "name": "n\0", "value": "1"}, 409),
    ("/execution/fork", {"id": "a", "from": HUGE}, 400),
    ("/execution/halt", {"id": "a "}, 404),
    ("/execution/cancel", {"id": " a", "force": "true"}, 404),
    ("/execution/delete", {"id": "a\r\n"}, 404),
    ("/promise/settle", {"id": "a\t", "state": "resolved"}, 404),
    ("/promise/settle", {"id": "nothing", "state": "resolved", "back": "//evil.example"}, 404),
    ("/schedules/backfill", {"id": "x", "from": "9" * 400}, 400),
    ("/schedules/update", {"id": "x", "cron": "@hourly"}, 404),
    ("/clock", {"step": "__class__"}, 400),
    ("/sign-in", {"jwt": "a\r\nSet-Cookie: x=1"}, 303),
]


@pytest.mark.parametrize(("path", "fields", "status"), FORMS, ids=range(len(FORMS)))
def test_form_is_refused_and_changes_nothing(pages: Pages, path: str, fields: dict[str, str], status: int) -> None:
    pages.shop.begin("a", MONDAY)
    response = pages.post(path, fields)
    assert response.status_code == status
    assert "evil" not in str(response.headers)
    assert "x=1" not in str(response.headers)
    assert present(pages.store.apply(TaskGet("a")).task).state == "acquired"
    assert pages.store.apply(PromiseGet("new")).status == 404


@cache
def two_tenants() -> Pages:
    """Console of a user whose token is for the ids of the first of two tenants."""
    pages = Pages("none")
    shop = pages.shop
    shop.begin("t1.a", MONDAY)
    shop.begin("t2.a", MONDAY, "secret_function", ("SECRET",))
    shop.promise("t2.a.1", MONDAY, "SECRET")
    shop.ask(MessageSend("t2.a", "SECRET", "k", encode("SECRET", "it")))
    shop.ask(ScheduleCreate("t2.s", "@hourly", "t2.s.x", HOUR, EMPTY, {TARGET: "poll://any@SECRET", FUNC: "SECRET"}))
    assert pages.sign_in(token(prefix="t1.", exp=MONDAY // 1000 + 600)).status_code == 303
    return pages


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/executions",
            "/executions?id=t2.",
            "/executions?id=t",
            "/executions?id=%25",
            "/executions?id=T1.",
            "/executions?id=t1",
        ),
        *("/executions?part=table", "/execution?id=t2.a", "/execution?id=t1.a&step=t2.a", "/execution?id=t2.nothing"),
        *(
            f"/execution?id=t2.a&{more}"
            for more in ("part=head", "part=rows", "part=messages", "view=records", "view=tree&from=1")
        ),
        *("/promise?id=t2.a.1", "/promise?id=t2.a.1&part=panel", "/payload?id=t2.a.1&side=param", "/records?id=t2.a"),
        *(
            "/export?id=t2.a",
            "/people",
            "/schedules",
            "/schedule?id=t2.s",
            "/workers",
            "/execution?id=t1.%2f..%2ft2.a",
            "/execution?id=t1.a%00t2.a",
        ),
    ],
)
def test_token_of_one_tenant_does_not_show_another(path: str) -> None:
    response = two_tenants().client.request("GET", f"/console{path}")
    assert response.status_code in (400, 403, 404)
    assert "secret" not in response.text.lower()


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        *(
            (f"/execution/{name}", {"id": "t2.a"})
            for name in ("halt", "continue", "retry", "delete", "fork", "redrive")
        ),
        ("/execution/cancel", {"id": "t2.a", "force": "true"}),
        ("/execution/fork", {"id": "t1.a", "new_id": "t2.z"}),
        ("/execution/fork", {"id": "t2.a", "new_id": "t1.z"}),
        ("/execution/send", {"id": "t2.a", "name": "n"}),
        ("/promise/settle", {"id": "t2.a.1", "state": "resolved", "value": "1"}),
        *((f"/schedules/{name}", {"id": "t2.s", "from": "7d"}) for name in ("pause", "resume", "trigger", "backfill")),
        ("/start", {"func": "f", "target": "shop", "id": "t2.z"}),
        ("/clock", {"step": "day"}),
    ],
)
def test_token_of_one_tenant_does_not_change_another(path: str, fields: dict[str, str]) -> None:
    pages = two_tenants()
    assert pages.refused(path, fields)[0] == (409 if path == "/clock" else 403)
    assert present(pages.store.apply(TaskGet("t2.a")).task).state == "acquired"
    assert present(pages.store.apply(PromiseGet("t2.a.1")).promise).pending
    assert [pages.store.apply(PromiseGet(id)).status for id in ("t1.z", "t2.z")] == [404, 404]


@pytest.mark.parametrize("cookie", ["", "0" * 32, "write token", "jwt", "None", "signed out", "expired"])
def test_cookie_that_is_not_of_a_user_shows_nothing(cookie: str) -> None:
    pages = Pages("none")
    pages.shop.begin("t1.a", MONDAY)
    jwt = token(prefix="t1.", exp=MONDAY // 1000 + 600)
    if cookie in ("signed out", "expired"):
        pages.sign_in(jwt)
        kept = pages.client.cookies[COOKIE]
        if cookie == "expired":
            pages.clock.advance(700_000)
        else:
            pages.post("/sign-out", {})
        cookie = kept
    pages.client.cookies.clear()
    given = {"write token": pages.token(), "jwt": jwt}.get(cookie, cookie)
    headers = {"Cookie": f"{COOKIE}={given}", "Authorization": f"Bearer {jwt}"}
    page = pages.client.request("GET", "/console/execution?id=t1.a", headers=headers).text
    assert "<h1>Sign in</h1>" in page
    assert "order" not in page


@pytest.mark.parametrize(
    "path",
    [
        "/executions?part=table",
        "/executions?part=counts",
        "/execution?id=a&part=rows",
        "/executions",
        "/execution?id=nothing",
        "/workers",
        "/payload?id=a&side=param",
        "/records?id=a",
        "/export?id=a",
        "/static/console.js",
    ],
)
def test_page_without_forms_does_not_have_the_token(caplog: pytest.LogCaptureFixture, path: str) -> None:
    pages = Pages(debug=False)
    pages.shop.begin("a", MONDAY)
    with caplog.at_level(logging.DEBUG):
        write_token = pages.token()
        response = pages.post("/execution/halt", {"id": "a"})
    assert response.status_code == 303
    assert write_token not in str(response.headers)
    assert write_token not in caplog.text
    page = pages.client.request("GET", f"/console{path}")
    assert write_token not in page.text + str(page.headers)


@pytest.mark.parametrize(
    "path", ["/executions", "/execution?id=a", "/workers", "/people", "/start", "/payload?id=a", "/static/no"]
)
def test_credentials_of_the_console_are_not_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "RESONATE_TOKEN"):
        monkeypatch.setenv(name, "SECRET")
    url = "http://localhost:9"
    for server in (ServerSettings(url, url, token="SECRET"), ServerSettings(url, url, auth=("SECRET", "SECRET"))):
        app = console(ServerBackend(server, "a server", ManualClock(MONDAY)))
        with caplog.at_level(logging.DEBUG):
            response = Browser(app, OWN).request("GET", f"/console{path}")
        assert response.status_code in (404, 503)
        assert "SECRET" not in response.text + str(response.headers) + caplog.text


@pytest.mark.parametrize("table", [True, False])
def test_clock_moves_only_with_debug_requests(table: bool) -> None:
    pages = Pages(debug=False)
    if table:
        backend = TableBackend(ConsoleSession(pages.store, pages.clock), "a table", {}, lambda _: "")
        pages.client = Browser(console(backend), OWN)
    pages.shop.begin("a", MONDAY)
    pages.shop.sleep("a.1", MONDAY, MONDAY + 1_000)
    assert pages.refused("/clock", {"step": "day"})[1].startswith("This server does not move its time")
    assert present(pages.store.apply(PromiseGet("a.1")).promise).pending
    assert "Move the clock" not in pages.get("/executions")


def settling(number: int) -> tuple[str, dict[str, str]]:
    return "/promise/settle", {"id": "a.1", "state": "resolved", "value": str(number)}


def starting(number: int) -> tuple[str, dict[str, str]]:
    return "/start", {"func": "f", "target": "shop", "id": "b", "args": f"[{number}]"}


def sending(number: int) -> tuple[str, dict[str, str]]:
    return "/execution/send", {"id": "a", "name": "n", "key": "k", "value": str(number)}


@pytest.mark.parametrize("form", [settling, starting, sending])
def test_first_of_many_tabs_succeeds(pages: Pages, form: Callable[[int], tuple[str, dict[str, str]]]) -> None:
    pages.shop.begin("a", MONDAY)
    pages.shop.promise("a.1", MONDAY)
    with ThreadPoolExecutor(8) as tabs:
        found = list(tabs.map(lambda number: pages.post(*form(number)).status_code, range(8)))
    assert sorted(found) == [303] + [409] * 7


@pytest.mark.parametrize("broken", ["__init__", "page"])
def test_answer_to_a_defect_has_the_policy(pages: Pages, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Visit, broken, fail)
    client = Browser(pages.client.app, OWN, raises=False)
    response = client.request("GET", "/console/executions")
    assert response.status_code == 500
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS
