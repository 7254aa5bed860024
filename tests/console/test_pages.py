"""The console of a development server in Chromium."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from resonate.payloads.codec import encode, encode_call
from resonate_store.model.requests import PromiseGet, PromiseRecord, TaskGet
from resonate_store.model.schedule_requests import ScheduleGet
from resonate_store.model.tags import KIND, SCOPE
from tests.support.browser import NARROW, WIDE, Served, Visitor, needs_chromium
from tests.support.console_demo import LATER, MONDAY, many_steps, raised
from tests.support.hypothesis_settings import in_ci, some
from tests.support.present import present

pytestmark = needs_chromium
expect = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed").expect

Visit = Callable[..., Visitor]
PAGES = [
    "/executions",
    "/executions?state=failed",
    "/execution?id=order-4119&step=order-4119.3",
    "/execution?id=order-4121&view=tree",
    "/execution?id=support-312&view=messages",
    "/execution?id=order-4120&view=records",
    "/promise?id=order-4122.2",
    "/people",
    "/schedules",
    "/schedule?id=stocktake",
    "/workers",
    "/start",
    "/start?func=order&target=shop",
    "/start?by_hand=1",
]


def pending(served: Served, id: str) -> bool:
    return present(served.server.store.apply(PromiseGet(id)).promise).pending


def pages_of(number: int) -> Sequence[str]:
    """Return the pages to open in a window: every page with `RESONATE_CI`, otherwise every second one."""
    return some(PAGES[number % 2 :] + PAGES[: number % 2], 2)


WINDOWS = some([("light", WIDE), ("light", NARROW), ("dark", NARROW), ("dark", WIDE)], 4)


@pytest.mark.parametrize(
    "number",
    range(len(WINDOWS)),
    ids=["-".join((scheme, "wide" if size == WIDE else "narrow")) for scheme, size in WINDOWS],
)
def test_pages_have_no_serious_violation_of_accessibility(shop: Served, visit: Visit, number: int) -> None:
    scheme, size = WINDOWS[number]
    visitor = visit(shop.url, scheme=scheme, size=size, checked=True)
    found: dict[str, Any] = {}
    for path in pages_of(number):
        visitor.open(path)
        if violations := visitor.violations():
            found[path] = violations
    assert found == {}


@in_ci
@pytest.mark.parametrize(("number", "size"), [(0, WIDE), (1, NARROW)], ids=["wide", "narrow"])
def test_pages_do_not_scroll_sideways(shop: Served, visit: Visit, number: int, size: tuple[int, int]) -> None:
    visitor = visit(shop.url, size=size)
    wide = []
    for path in pages_of(number):
        visitor.open(path)
        if visitor.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            wide.append(path)
    assert wide == []


def test_pages_can_be_read_without_javascript(shop: Served, visit: Visit) -> None:
    visitor = visit(shop.url, scripts=False)
    page = visitor.open("/executions")
    page.get_by_role("link", name="failed").click()
    page.get_by_role("link", name="order-4119").click()
    page.get_by_role("link", name="charge").click()
    panel = page.locator("#panel")
    assert panel.get_by_text("refused the connection").count() >= 3
    page.get_by_role("link", name="Tree").click()
    assert page.get_by_text('{"stock": 3}').is_visible()
    page.get_by_role("link", name="Records").click()
    page.get_by_text("order-4119.3~1", exact=True).click()
    assert page.get_by_text('"resonate:timer": "true"').first.is_visible()


@in_ci
def test_step_is_chosen_by_keyboard_alone(shop: Served, visit: Visit) -> None:
    page = visit(shop.url).open("/executions")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("/")
    page.keyboard.type("order-4119")
    page.keyboard.press("Enter")
    page.wait_for_url("**id=order-4119**")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="order-4119").wait_for()
    for _ in range(4):
        page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="run charge").wait_for()
    assert page.get_by_text("Attempt 2 failed at").is_visible()
    outline: str = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


@in_ci
def test_timeline_grows_while_the_execution_runs(served: Served, visit: Visit) -> None:
    served.shop.begin("a", MONDAY)
    served.shop.step("a.1", "reserve", MONDAY + 10, 500)
    visitor = visit(served.url)
    visitor.page.clock.install()
    page = visitor.open("/execution?id=a")
    page.get_by_role("link", name="reserve").click()
    page.get_by_role("heading", name="run reserve").wait_for()
    before: float = page.locator(".bar.ok").bounding_box()["x"]  # type: ignore[index]

    served.shop.try_step("a.2", "charge", MONDAY + 900)
    served.shop.retry("a.2", 1, MONDAY + 1_500, LATER, raised(ValueError("declined")))
    served.clock.advance_to(MONDAY + 1_800)
    visitor.passes(2_100)
    page.get_by_role("link", name="charge").wait_for()

    after = page.locator(".line", has_text="reserve").locator(".bar.ok").bounding_box()
    assert present(after)["x"] == pytest.approx(before, abs=12)
    assert page.locator(".chosen").inner_text().startswith("1")
    assert page.locator(".bar.failed").count() == 1
    assert page.locator(".tick").count() == 1
    page.get_by_text("It does not proceed:").wait_for()


@in_ci
def test_refresh_does_not_disturb_a_form_that_a_user_fills(served: Served, visit: Visit) -> None:
    served.shop.begin("a", MONDAY)
    visitor = visit(served.url)
    visitor.page.clock.install()
    page = visitor.open("/execution?id=a")
    page.get_by_text("Cancel", exact=True).click()
    page.get_by_label("Reason").last.fill("changed plans")
    served.shop.step("a.1", "reserve", MONDAY, 10)
    served.clock.advance(2_000)
    visitor.passes(4_200)
    page.get_by_role("link", name="reserve").wait_for()
    assert page.get_by_label("Reason").last.input_value() == "changed plans"

    page.keyboard.press("Escape")
    assert not page.get_by_role("button", name="Cancel it").is_visible()
    page.get_by_text("Cancel", exact=True).click()
    page.get_by_label("Reason").last.fill("changed plans")
    page.get_by_role("button", name="Cancel it").click()
    page.get_by_text("Cancelled. Its workflow gets an error").wait_for()
    assert present(served.server.store.apply(TaskGet("a")).task).cancel == "changed plans"


@in_ci
def test_long_execution_is_read_while_scrolling(served: Served, visit: Visit) -> None:
    many_steps(served.shop, "big", MONDAY, 650)
    page = visit(served.url).open("/execution?id=big")
    assert page.locator("a.pick").count() == 50
    for count in (150, 250, 350, 450, 550, 650):
        page.locator(".more").last.scroll_into_view_if_needed()
        expect(page.locator("a.pick")).to_have_count(count)
    numbers = page.locator(".place").all_inner_texts()
    assert numbers == [str(number) for number in range(1, 651)]


def test_halted_execution_is_continued(served: Served, visit: Visit) -> None:
    served.shop.begin("a", MONDAY)
    page = visit(served.url).open("/execution?id=a")
    page.get_by_text("Halt", exact=True).click()
    page.get_by_label("Reason").first.fill("the disk is full")
    page.get_by_role("button", name="Halt it").click()
    page.get_by_text("Halted. the disk is full").wait_for()
    page.get_by_role("button", name="Continue").click()
    page.get_by_text("Continued. Its task is offered to the workers.").wait_for()
    assert present(served.server.store.apply(TaskGet("a")).task).state == "pending"


def test_person_resolves_a_promise(served: Served, visit: Visit) -> None:
    served.shop.begin("a", MONDAY)
    served.shop.promise("a.1", MONDAY, {"question": "Approve?"})
    served.shop.suspend("a", "a.1")
    page = visit(served.url).open("/people")
    assert page.get_by_text('{"question": "Approve?"}').is_visible()
    page.get_by_label("Value, as JSON").fill('{"by": "Ada"}')
    page.get_by_role("button", name="Resolve").click()
    page.get_by_text("a.1 is resolved.").wait_for()
    assert not pending(served, "a.1")


@in_ci
def test_message_is_sent_and_the_clock_moved(served: Served, visit: Visit) -> None:
    served.shop.begin("a", MONDAY)
    served.shop.sleep("a.1", MONDAY, MONDAY + 3_000_000)
    page = visit(served.url).open("/execution?id=a&view=messages")
    page.get_by_label("Name").fill("note")
    page.get_by_label("Value, as JSON").fill('"ring twice"')
    page.get_by_role("button", name="Send").click()
    page.get_by_text("The message note is accepted.").wait_for()
    assert page.get_by_text('"ring twice"').is_visible()

    page.get_by_role("button", name="Move the clock by +1 h").click()
    page.get_by_text("What was due within one hour has happened.").wait_for()
    assert not pending(served, "a.1")


def test_function_is_started_from_its_form(served: Served, visit: Visit) -> None:
    served.connect()
    page = visit(served.url).open("/start")
    page.get_by_role("link", name="order Reserve, charge and ship an order.").click()
    page.get_by_label("amount").fill("30")
    page.get_by_label("address").fill('{"city": "Kiel"}')
    page.get_by_label("Id", exact=True).fill("order-1")
    page.get_by_role("button", name="Start").click()
    page.get_by_role("heading", name="order-1").wait_for()
    assert page.get_by_text('address = {"city": "Kiel"}').is_visible()
    assert pending(served, "order-1")


BROKEN_WORDS = """labels => labels.flatMap(label => {
  const texts = document.createTreeWalker(label, NodeFilter.SHOW_TEXT), broken = [];
  while (texts.nextNode()) {
    const range = document.createRange();
    range.selectNodeContents(texts.currentNode);
    const tops = new Set([...range.getClientRects()].map(rect => rect.top));
    if (texts.currentNode.data.trim() && tops.size > 1) broken.push(texts.currentNode.data);
  }
  return broken;
})"""
"""The texts of labels that have more than one line."""


@in_ci
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_labels_of_a_form_are_not_broken_inside_words(
    served: Served, visit: Visit, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("cooling_off_days", "account_of_the_second_bank", "x")
    schema = {"type": "object", "properties": {name: {"type": "integer", "default": 3} for name in names}}
    function = {"name": "offer", "versions": [1], "doc": "", "schema": schema, "positional": []}
    monkeypatch.setattr("tests.support.browser.FUNCTIONS", [function])
    served.connect()
    page = visit(served.url, size=size).open("/start?func=offer&target=shop")
    labels = page.locator(".field label")
    assert labels.count() == len(names)
    assert labels.evaluate_all(BROKEN_WORDS) == []
    if size == WIDE:
        assert len({present(each.bounding_box())["x"] for each in page.locator(".field input").all()}) == 1


def test_underline_of_links_lies_below_an_underscore(shop: Served, visit: Visit) -> None:
    page = visit(shop.url).open("/workers")
    link = page.get_by_role("link", name="refund")
    depth, offset = link.evaluate("""link => {
      const style = getComputedStyle(link), canvas = document.createElement("canvas").getContext("2d");
      canvas.font = style.font;
      return [canvas.measureText("_").actualBoundingBoxDescent, parseFloat(style.textUnderlineOffset)];
    }""")
    assert 0 < depth < offset


def test_cards_end_where_tables_end(shop: Served, visit: Visit) -> None:
    page = visit(shop.url, size=(1280, 800)).open("/workers")
    boxes = [present(page.locator(part).first.bounding_box()) for part in (".scroll", ".card")]
    assert boxes[0]["width"] == boxes[1]["width"]


@in_ci
def test_winner_of_a_race_is_visible_beside_an_open_panel(served: Served, visit: Visit) -> None:
    served.shop.begin("a", MONDAY)
    tags = {**served.shop.lineage("a.1"), SCOPE: "local", KIND: "race"}
    served.shop.ask(PromiseRecord("a.1", LATER, MONDAY, "resolved", encode(1, "it"), tags=tags))
    visitor = visit(served.url, size=(1280, 800))
    for view in ("timeline", "tree"):
        page = visitor.open(f"/execution?id=a&view={view}&step=a.1")
        row = page.locator(".rows .line").nth(1 if view == "tree" else 2)
        for text in ("ctx.race", "first: number 2"):
            found = row.get_by_text(text)
            assert found.evaluate("e => e.scrollWidth <= e.clientWidth && e.scrollHeight <= e.clientHeight"), text
        assert page.locator("#panel").get_by_text("first: number 2").is_visible()


@in_ci
def test_schedule_is_changed_on_its_page(shop: Served, visit: Visit) -> None:
    page = visit(shop.url).open("/schedules")
    page.get_by_role("link", name="Change stocktake").click()
    page.get_by_role("heading", name="stocktake").wait_for()
    assert page.get_by_label("Named arguments").input_value() == '{"store": "south"}'
    page.get_by_label("Cron expression").fill("0 7 * * mon")
    page.get_by_label("Note").fill("count\neverything")
    page.get_by_role("button", name="Change it").click()
    page.get_by_text("stocktake is changed.").wait_for()
    schedule = present(shop.server.store.apply(ScheduleGet("stocktake")).schedule)
    assert (schedule.cron, schedule.description) == ("0 7 * * mon", "count\neverything")
    assert schedule.promise_param == encode_call("stocktake", (), {"store": "south"}, 1)


def test_list_is_refreshed_and_counts_arrive(served: Served, visit: Visit) -> None:
    visitor = visit(served.url)
    visitor.page.clock.install()
    page = visitor.open("/executions")
    page.get_by_text("No executions yet.").wait_for()
    served.shop.begin("a", MONDAY)
    visitor.passes(3_100)
    page.get_by_role("link", name="a", exact=True).wait_for()
    served.shop.end("a", MONDAY + 1_000, error=ValueError("no"))
    visitor.passes(10_100)
    page.get_by_text("ValueError: no").wait_for()
    page.get_by_role("link", name="failed 1").wait_for()
