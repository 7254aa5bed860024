"""Windows of the records of an execution."""

from __future__ import annotations

from resonate_infra.console.backend import ConsoleSession
from resonate_infra.console.history import FIRST, FRESH_MS, PROBED, WINDOW, Extent, Histories, Records
from resonate_store.model.execution_requests import TaskContinueAs
from resonate_store.model.message_requests import MessageSend
from resonate_store.model.records import EMPTY
from resonate_store.model.requests import PromiseRecord
from resonate_store.model.tags import AFTER, KIND, NAME, SCOPE
from tests.support.console_demo import LATER, MONDAY, Shop, many_steps, raised
from tests.support.console_pages import Pages


def read(pages: Pages, id: str, extent: Extent = "all") -> Records:
    return Histories().read(ConsoleSession(pages.store, pages.clock), id, extent=extent)


def places(pages: Pages, records: Records, begin: int = 0) -> list[str]:
    node = records.window(ConsoleSession(pages.store, pages.clock), begin)
    return [child.promise.id.partition(".")[2] for child in node.children]


def test_commands_are_in_their_order_and_not_that_of_ids(pages: Pages, shop: Shop) -> None:
    many_steps(shop, "a", MONDAY, 12)
    assert places(pages, read(pages, "a")) == [str(number) for number in range(1, 13)]


def test_long_execution_opens_with_the_first_of_all_records(pages: Pages, shop: Shop) -> None:
    many_steps(shop, "a", MONDAY, PROBED + 50)
    beginning, whole = read(pages, "a", "commands"), read(pages, "a")

    assert beginning.beginning
    assert not whole.beginning
    assert places(pages, beginning) == places(pages, whole)[:FIRST] == [str(number) for number in range(1, FIRST + 1)]
    assert (beginning.following(0), whole.following(0, FIRST), whole.following(0)) == (FIRST, FIRST, WINDOW)
    assert places(pages, whole, PROBED + 40) == [str(number) for number in range(PROBED + 41, PROBED + 51)]
    assert whole.following(PROBED) is None


def test_beginning_has_retries_marks_of_patches_and_messages(pages: Pages, shop: Shop) -> None:
    shop.begin("a", MONDAY)
    for number in range(2, PROBED + 10):
        shop.step(f"a.{number}", "f", MONDAY + number, 0)
    tags = {**shop.lineage("a.patch~new"), SCOPE: "local", KIND: "patch", NAME: "new", AFTER: "1"}
    shop.ask(PromiseRecord("a.patch~new", LATER, MONDAY, "resolved", EMPTY, tags=tags))
    shop.ask(MessageSend("a", "note", "k"))
    shop.try_step("a.1", "g", MONDAY + 1_000)
    shop.retry("a.1", 3, MONDAY + 2_000, LATER, raised(ValueError("no")))
    beginning = read(pages, "a", "beginning")

    assert beginning.beginning
    assert places(pages, beginning)[:4] == ["1", "patch~new", "2", "3"]
    assert places(pages, beginning)[-1] == str(FIRST)
    assert places(pages, read(pages, "a", "commands")) == places(pages, beginning)
    node = beginning.window(ConsoleSession(pages.store, pages.clock), 0)
    assert node.children[0].attempts == 4
    assert len(beginning.waiting) == 1


def test_commands_of_the_present_generation_are_shown(pages: Pages, shop: Shop) -> None:
    shop.begin("a", MONDAY)
    shop.step("a.1", "old", MONDAY + 1, 0)
    shop.step("a.2+0", "arguments", MONDAY + 2, 0)
    shop.ask(TaskContinueAs("a", 1, 2))
    shop.step("a.2+1", "new", MONDAY + 3, 0)
    assert places(pages, read(pages, "a")) == ["2+1"]
    shop.end("a", MONDAY + 9)
    assert places(pages, read(pages, "a")) == ["2+1"]


def test_records_are_kept_for_a_moment_while_the_execution_runs(pages: Pages, shop: Shop) -> None:
    histories, session = Histories(), ConsoleSession(pages.store, pages.clock)
    shop.begin("a", MONDAY)
    assert histories.read(session, "a").count == 0
    shop.step("a.1", "f", MONDAY, 0)
    assert histories.read(session, "a").count == 0
    assert histories.read(session, "a", "another user").count == 1

    pages.clock.advance(FRESH_MS)
    assert histories.read(session, "a").count == 1
    shop.step("a.2", "f", pages.clock.now(), 0)
    histories.forget("a")
    assert histories.read(session, "a").count == 2
    shop.end("a", pages.clock.now())
    assert not histories.read(session, "a").root.pending
