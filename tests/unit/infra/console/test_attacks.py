"""Attacks on the console by what programs have stored. Each row of a table is one attack."""

from __future__ import annotations

import json
from base64 import b64encode
from functools import cache
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from resonate.payloads.codec import encode
from resonate_infra.console.application import MOST_FORM_BYTES
from resonate_infra.console.rendering import url
from resonate_store.model.message_requests import MessageSend, TaskPublish
from resonate_store.model.records import Value
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseRecord,
    PromiseSettle,
    TaskCreate,
    TaskFulfill,
    TaskHalt,
    TaskSuspend,
)
from resonate_store.model.schedule_requests import ScheduleCreate, ScheduleGet, ScheduleTrigger
from resonate_store.model.tags import AFTER, BRANCH, ELAPSED, FUNC, ORIGIN, PARENT, PREFIX, SCOPE, TAKEN, TARGET, TIMER
from resonate_store.protocol.workers import WorkerView
from tests.support.console_demo import HOUR, LATER, MONDAY, told
from tests.support.console_pages import Pages, fields_in
from tests.support.hypothesis_settings import examples, some
from tests.support.present import present

OWN = "http://localhost:8001"
FOREIGN = "http://evil.example"
SMALL = 400_000
"""No page may be larger (characters), except those of a single value."""
ADDRESSES = ("href", "src", "action", "formaction", "hx-get", "hx-post", "data", "srcdoc", "poster", "xlink:href")
TEXTS = {
    "script": "<script>alert(1)</script>",
    "script in capitals": "<ScRiPt src=//evil/x></sCrIpT >",
    "image": "<img src=x onerror=alert(1)>",
    "svg": "<svg/onload=alert(1)><animate onbegin=alert(1)>",
    "attribute": '" onmouseover="alert(1)" x="',
    "attribute in single quotes": "' autofocus onfocus='alert(1)",
    "attribute without quotes": " onclick=alert(1) tabindex=1 ",
    "end of elements": "</pre></title></textarea></select></option></svg></details><iframe src=//evil>",
    "style": "</style><style>*{background:url(//evil/x)}</style>",
    "style of a value": "x;background:url(//evil/x)",
    "javascript address": "javascript:alert(1)//",
    "data address": "data:text/html,<script>alert(1)</script>",
    "foreign address": "//evil/x?a=1&b=2#c",
    "base and refresh": "<base href=//evil><meta http-equiv=refresh content=0;url=//evil>",
    "form": "<form action=//evil><input name=token><button formaction=//evil>",
    "template": "{{7*7}}{% raise %}${7*7}#{7*7}{{config}}",
    "htmx": "<div hx-get=/console/people hx-trigger=load hx-on:click=alert(1)>",
    "htmx data": "<b data-hx-post=/console/start data-hx-trigger=load hx-swap-oob=true>",
    "htmx attribute": '" hx-get="/console/people" hx-trigger="load[alert(1)]" x="',
    "entities": "&lt;script&gt;&#60;img src=x&#62;&quot;",
    "comment": "<!--><![CDATA[<?xml ?><!doctype x>--!>",
    "carriage return": "a\r\nSet-Cookie: x=1\r\nHX-Redirect: //evil\r\n\r\n<b>",
    "reading direction": "\u202egnp<b>\u2066\u2067\u200f",
    "path": "/etc/passwd%2e%2e%00\\\\%5c?#",
    "terminal": "\x1b]0;x\x07\x08\x7f\ufeff",
    "long": "A" * 180,
}
"""Texts that are shown, and must stay texts. They are without dots, which divide ids."""


class Shape(HTMLParser):
    """Elements with the names of their attributes, the addresses, and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, ...]] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, *(name for name, _ in attrs)))
        self.addresses += [text or "" for name, text in attrs if name in ADDRESSES]

    def handle_comment(self, data: str) -> None:
        self.elements.append(("comment", data))

    def handle_data(self, data: str) -> None:
        self.text += data


def tags(root: str, **more: str) -> dict[str, str]:
    return {ORIGIN: root, PARENT: root, BRANCH: root, PREFIX: root, **more}


@cache
def stored(text: str) -> Pages:
    """Console with the text in every field that can have it."""
    schema = {
        "properties": {
            text: {"enum": [text], "default": text},
            f"{text}2": {"type": "string", "default": text, "format": text},
            f"{text}3": {"properties": {text: {}}},
        }
    }
    function = {"name": text, "doc": text, "versions": [1, 2], "schema": schema}
    pages = Pages(workers=[WorkerView(text, text, address=f"https://{text}", functions=[function])])
    ask, id, data = pages.shop.ask, f"x{text}", encode(text, "it")
    target, error = {TARGET: f"poll://any@{quote(text, safe='')}", FUNC: text, SCOPE: "global"}, told(text, text)
    pages.clock.advance_to(MONDAY)
    root = PromiseCreate(id, LATER, encode({"func": text, "args": [text], "kwargs": {text: text}}, "it"))
    root.tags.update(tags(id, **target, **{text: text}))
    ask(TaskCreate(text, 60_000, root))
    ask(PromiseRecord(f"{id}.1", LATER, MONDAY, "rejected", error, tags=tags(id, **{SCOPE: "local", FUNC: text})))
    ask(PromiseCreate(f"{id}.2", LATER, data, tags(id, **{SCOPE: "global", text: text})))
    ask(PromiseCreate(f"{id}.3", LATER, data, {**tags(id), **target, BRANCH: f"{id}.3"}))
    ask(PromiseCreate(f"{id}.4", LATER, tags=tags(id, **{SCOPE: "local", FUNC: text})))
    ask(PromiseCreate(f"{id}.4~1", LATER, error, tags(id, **{TIMER: "true"})))
    ask(TaskPublish(id, 1, f"{id}.5", text, LATER, data, tags(id, **{SCOPE: "local"})))
    ask(MessageSend(id, text, text, data))
    ask(TaskSuspend(id, 1, (f"{id}.2",), seen=1))
    other = f"h{text}"
    ask(TaskCreate(text, 60_000, PromiseCreate(other, LATER, tags={**tags(other), **target})))
    ask(TaskHalt(other, reason=text))
    ask(ScheduleCreate(text, "@hourly", f"s{text}", HOUR, data, target, description=text))
    ask(ScheduleTrigger(text))
    return pages


def paths_of(text: str) -> list[str]:
    """Return the pages that show the text, and those that repeat it from the query."""
    id = f"x{text}"
    return [
        url("/executions"),
        url("/executions", id=f"h{text}", func=text),
        url("/executions", tag=text, part="table"),
        url("/executions", state=text),
        url("/executions", cursor=text),
        url("/executions", since=text),
        url("/execution", id=id, step=f"{id}.1"),
        url("/execution", id=id, toggle=[text, f"{id}.3"]),
        url("/execution", id=id, view="tree", step=f"{id}.4"),
        url("/execution", id=id, view="messages"),
        url("/execution", id=id, view="records"),
        url("/execution", id=id, view=text),
        url("/execution", id=f"h{text}"),
        url("/execution", id=text),
        url("/promise", id=f"{id}.2"),
        url("/promise", id=f"{id}.3", part="panel"),
        url("/people"),
        url("/schedules"),
        url("/schedule", id=text),
        url("/workers"),
        url("/start", func=text, target=text),
        url("/start", func=text, target=f"{text}2", by_hand="1"),
    ]


@cache
def harmless_page(path: str) -> tuple[httpx.Response, Shape]:
    response = stored("harmless").client.request("GET", path)
    return response, Shape(response.text)


@pytest.mark.parametrize("name", TEXTS)
def test_stored_text_stays_text(name: str) -> None:
    text, first = TEXTS[name], list(TEXTS).index(name) % 3
    paths = list(zip(paths_of(text), paths_of("harmless"), strict=True))
    for path, harmless in some(paths[first:] + paths[:first], 3):
        response = stored(text).client.request("GET", path)
        shape = Shape(response.text)
        other, expected = harmless_page(harmless)
        assert (response.status_code, path) == (other.status_code, path)
        assert shape.elements == expected.elements, path
        assert [at for at in shape.addresses if not at.startswith(("/console/", "#"))] == [], path
        assert set(response.headers) == set(other.headers), path
        if response.status_code == 200 and "tag=" not in path:
            assert " ".join(text.split()) in " ".join(shape.text.split()), path
    for path in ("/payload?side=param&id=", "/records?id=", "/export?id="):
        headers = stored(text).client.request("GET", f"/console{path}{quote('x' + text)}").headers
        assert headers["content-type"].partition(";")[0] in ("text/plain", "application/json")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers.get("content-disposition") in (None, 'attachment; filename="history.json"')


def payload(text: str | bytes, **headers: str) -> Value:
    data = b64encode(text if isinstance(text, bytes) else text.encode()).decode()
    return Value(headers or None, data)


LARGE = examples(1_000_000, in_ci=10_000_000)
"""The length of the largest texts, which exceeds that of each page."""
BIG = payload('"' + "x" * LARGE + '"')
PAYLOADS: dict[str, Value] = {
    "half of a surrogate pair": payload(r'"\ud800 and \uDFFF"'),
    "surrogates in an error": payload(
        r'{"__type": "error", "name": "\ud800", "message": "\udc00", "traceback": "\ud83d"}'
    ),
    "no UTF-8": payload(b"\xff\xfe\x00<b>"),
    "no base64": Value(data="<script>%%%"),
    "null byte": payload(r'"\u0000"'),
    "nested 300 times": payload("[" * 300 + "]" * 300),
    "nested 980 times": payload("[" * 980 + "]" * 980),
    "nested 20,000 times": payload('{"a":' * 20_000 + "1" + "}" * 20_000),
    "number of 20,000 digits": payload("9" * 20_000),
    "infinite number": payload("[1e999, -1e999, NaN]"),
    "error of wrong types": payload('{"__type": "error", "name": [1], "message": {"a": 1}, "errors": 7, "cause": [1]}'),
    "error of many causes": payload('{"__type": "error", "cause": ' * 200 + "1" + "}" * 200),
    "error of many members": payload('{"__type": "error", "errors": [' + '{"name": "E"},' * 5_000 + "{}]}"),
    "call of wrong types": payload('{"func": {"a": 1}, "args": 7, "kwargs": [1], "version": "x"}'),
    "large": BIG,
    "large error": payload(json.dumps({"__type": "error", "name": "E", "message": "x" * LARGE})),
    "ciphertext": payload(b"ciphertext", **{"x-encrypted": "true", "x-encryption-key-id": "k"}),
    "header of another type": payload("1", **{"x-encrypted": "<script>"}),
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_stored_payload_does_not_hide_pages(pages: Pages, name: str) -> None:
    ask, data, shop = pages.shop.ask, PAYLOADS[name], pages.shop
    shop.begin("a", MONDAY)
    for number, state in enumerate(("resolved", "rejected"), 1):
        ask(PromiseRecord(f"a.{number}", LATER, MONDAY, state, data, tags=tags("a", **{SCOPE: "local", FUNC: "f"})))
    ask(PromiseCreate("a.3", LATER, data, tags("a", **{SCOPE: "global"})))
    ask(PromiseCreate("a.4", LATER, tags=tags("a", **{SCOPE: "local", FUNC: "f"})))
    ask(PromiseCreate("a.4~1", LATER, data, tags("a", **{TIMER: "true"})))
    ask(
        TaskCreate("w", 60_000, PromiseCreate("b", LATER, data, tags("b", **{SCOPE: "global", TARGET: "poll://any@w"})))
    )
    ask(TaskFulfill("b", 1, PromiseSettle("b", "rejected", data)))
    if not name.startswith("large"):
        ask(MessageSend("a", "note", "k", data))
    paths = [url("/execution", id="a", view=view) for view in ("timeline", "tree", "messages", "records")]
    paths += [url("/promise", id=f"a.{number}") for number in (1, 2, 3, 4)]
    for path in (*paths, url("/executions"), url("/people"), url("/workers"), url("/execution", id="b")):
        response = pages.client.request("GET", path)
        assert (response.status_code, path) == (200, path)
        assert len(response.text) < SMALL, path
        if name == "ciphertext" and "records" not in path:
            assert "ciphertext" not in response.text, path
            assert str(data.data) not in response.text, path
    for path in ("/payload?id=a.1", "/records?id=a.1", "/export?id=a"):
        assert pages.client.request("GET", f"/console{path}").status_code == 200


HUGE = "9" * 4_096
TAGS = [
    (name, text)
    for name in (ELAPSED, AFTER, TAKEN, FUNC, TIMER)
    for text in (HUGE, "-1", "", "²", "1+2+3", f"{HUGE[:999]}+1")
]


@pytest.mark.parametrize(("name", "text"), TAGS)
def test_stored_tag_does_not_hide_pages(pages: Pages, name: str, text: str) -> None:
    pages.shop.begin("a", MONDAY)
    pages.shop.ask(PromiseRecord("a.1", LATER, MONDAY, "resolved", tags=tags("a", **{SCOPE: "local", name: text})))
    for path in ("/executions", "/execution?id=a", "/execution?id=a&view=tree", "/execution?id=a.1", "/promise?id=a.1"):
        pages.get(path)


FUNCTIONS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "only a name": {"name": "f"},
    "wrong types": {"name": 1, "doc": 1, "versions": 5, "schema": [], "positional": 7},
    "other wrong types": {"name": {"a": 1}, "doc": ["x"], "versions": {"a": 1}, "schema": 7, "positional": "x"},
    "versions that are no numbers": {"name": "f", "versions": ["<script>", [1], None]},
    "wrong schema": {"name": "f", "schema": {"properties": {"x": 5, "y": {"$ref": 5}}, "required": 5, "$defs": []}},
    "schema that names itself": {
        "name": "f",
        "schema": {"properties": {"x": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"$ref": "#/$defs/x"}}},
    },
    "types that are no types": {
        "name": "f",
        "schema": {"properties": {"x": {"type": ["string"]}, "y": {"type": {"a": 1}}}},
    },
    "infinite default": {"name": "f", "schema": {"properties": {"x": {"enum": [1], "default": 1e308 * 10}}}},
    "empty lines": {"name": "f", "doc": "\n\x1c\n"},
    "long docstring": {"name": "f", "doc": "x" * 1_000_000},
    "long schema": {
        "name": "f",
        "schema": {"properties": {"x": {"properties": {f"{n}" * 40: {} for n in range(9_999)}}}},
    },
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_announced_function_does_not_hide_pages(name: str) -> None:
    function = FUNCTIONS[name]
    pages = Pages(workers=[WorkerView("g", "p", functions=[function, {"name": "good"}])])
    for path in (
        "/workers",
        "/start",
        url("/start", func=str(function.get("name", "")), target="g").removeprefix("/console"),
    ):
        page = pages.get(path)
        assert "good" in page
        assert len(page) < SMALL


def test_many_promises_for_people_are_a_small_page(pages: Pages) -> None:
    pages.shop.begin("a", MONDAY)
    for number in range(150):
        pages.shop.ask(PromiseCreate(f"a.{number}", LATER, payload('"' + "x" * 20_000 + '"'), tags("a")))
    pages.shop.suspend("a", "a.1")
    page = pages.get("/people")
    assert page.count("Resolve</button>") == 100
    assert "More promises wait than one page shows." in page
    assert len(page) < SMALL


@pytest.mark.parametrize("name", PAYLOADS)
def test_form_of_schedule_keeps_a_forged_payload(pages: Pages, name: str) -> None:
    pages.shop.ask(ScheduleCreate("s", "@hourly", "s.x", HOUR, PAYLOADS[name], {TARGET: "poll://any@x"}))
    before = pages.store.apply(ScheduleGet("s")).schedule
    assert before is not None
    fields = fields_in(pages.get("/schedule?id=s"))
    too_large = len(PAYLOADS[name].data or "") > MOST_FORM_BYTES  # the request has the param, so the server refuses it
    status = pages.post("/schedules/update", {**fields, "cron": "@daily"}).status_code
    assert status == (413 if too_large else 303)
    after = present(pages.store.apply(ScheduleGet("s")).schedule)
    assert (after.cron, after.promise_param) == ("@hourly" if too_large else "@daily", before.promise_param)
