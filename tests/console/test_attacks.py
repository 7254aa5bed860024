"""Attacks on the console that need a browser: what stored texts do on a page, and what other pages can do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from resonate.payloads.codec import encode
from resonate_infra.console.rendering import url
from resonate_store.model.message_requests import MessageSend
from resonate_store.model.requests import TaskGet
from tests.support.browser import Served, Visitor, needs_chromium
from tests.support.console_demo import MONDAY, told
from tests.support.hypothesis_settings import in_ci, some
from tests.support.present import present

pytestmark = needs_chromium
pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

Visit = Callable[..., Visitor]
HOSTILE = {
    "scripts": "<script>top.hit=1</script><img src=x onerror=top.hit=1><svg onload=top.hit=1>",
    "attributes": "\"onmouseover='top.hit=1' autofocus onfocus=top.hit=1 style=\"position:fixed",
    "htmx": '<b hx-get=/console/people hx-trigger=load hx-on:htmx:load=top.hit=1></b>" hx-get="/console/people" x="',
    "elements": "</pre></title></textarea></select></svg><iframe src=//evil/></iframe><base href=//evil>",
    "addresses": "javascript:top.hit=1//",
}
FOREIGN = "http://evil.example/"


@pytest.fixture
def attacked(served: Served) -> Served:
    """Server with an execution for each hostile text."""
    for number, text in enumerate(HOSTILE.values()):
        shop, id = served.shop, f"{number}{text}".replace(".", "")
        shop.begin(id, MONDAY, text, (text,))
        shop.step(f"{id}.1", text, MONDAY, 5, error=told(text, text))
        shop.promise(f"{id}.2", MONDAY, text)
        shop.ask(MessageSend(id, text, "k", encode(text, "it")))
        shop.suspend(
            id,
            f"{id}.2",
            receives=(text,),
        )
    return served


@pytest.mark.parametrize("name", some(list(HOSTILE), 5))
def test_stored_text_does_nothing_in_a_browser(attacked: Served, visit: Visit, name: str) -> None:
    number = list(HOSTILE).index(name)
    id = f"{number}{HOSTILE[name]}".replace(".", "")
    visitor = visit(attacked.url)
    asked: list[str] = []
    visitor.page.on("request", lambda request: asked.append(request.url))
    for path in (
        url("/executions"),
        url("/people"),
        url("/execution", id=id, step=f"{id}.1"),
        url("/execution", id=id, view="tree"),
        url("/execution", id=id, view="messages"),
        url("/start", func=HOSTILE[name], target=HOSTILE[name]),
        url("/execution", id=HOSTILE[name], view="tree"),
    ):
        page = visitor.open(path.removeprefix("/console"))
        page.wait_for_load_state("networkidle")
        assert page.evaluate(
            "[top.hit, document.querySelectorAll('iframe, base, script:not([src]), [onerror], [style]').length]"
        ) == [None, 0]
    assert [each for each in asked if not each.startswith(f"{attacked.url}/console/")] == []
    assert [each for each in asked if each == f"{attacked.url}/console/people"] == [f"{attacked.url}/console/people"]
    visitor.complaints = [each for each in visitor.complaints if "404" not in each]  # of the last page


ACTIONS = {
    "form": '<form method=post action="{url}/console/execution/halt" enctype="{enctype}">{fields}</form>',
    "frame": '<iframe src="{url}/console/execution?id=a"></iframe>',
    "link": '<img src="{url}/console/execution/halt?id=a"><script src="{url}/console/execution?id=a"></script>',
}
ENCTYPES = ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data")


@pytest.mark.parametrize(("action", "enctype"), [("frame", ""), ("link", ""), *(("form", each) for each in ENCTYPES)])
def test_foreign_page_neither_reads_nor_writes(served: Served, visit: Visit, action: str, enctype: str) -> None:
    served.shop.begin("a", MONDAY)
    visitor = visit(served.url)
    page = visitor.open("/execution?id=a")
    token = page.locator("input[name=token]").first.get_attribute("value")
    fields = f'<input name=id value=a><input name=token value="{token}">'  # even with the token
    html = ACTIONS[action].format(url=served.url, enctype=enctype, fields=fields)
    page.route(f"{FOREIGN}**", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.goto(FOREIGN)
    if action == "form":
        with page.expect_navigation() as navigation:
            page.evaluate("document.forms[0].submit()")
        assert navigation.value.status in (403, 413)
        page.goto(FOREIGN)
    page.wait_for_load_state("networkidle")
    assert present(served.server.store.apply(TaskGet("a")).task).state == "acquired"
    assert ["Halt" in frame.content() for frame in page.frames] == [False] * len(page.frames)
    assert (
        page.evaluate(f"fetch('{served.url}/console/execution?id=a').then(() => 'read', () => 'refused')") == "refused"
    )
    visitor.complaints.clear()  # The browser says what it has refused.


@in_ci
def test_text_from_right_to_left_turns_only_itself(served: Served, visit: Visit) -> None:
    served.shop.begin("a", MONDAY, "f")
    served.shop.step("a.1", "\u202ereverse", MONDAY, 5, 1)
    page = visit(served.url).open("/execution?id=a&step=a.1")
    assert page.evaluate("getComputedStyle(document.querySelector('.line .what')).unicodeBidi") == "isolate"
    place, name = (page.locator(f".pick .{each}").first.bounding_box() for each in ("place", "what"))
    assert present(place)["x"] < present(name)["x"]
