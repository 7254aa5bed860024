"""The console shows executions and schedules as earlier releases stored them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from html import unescape
from pathlib import Path

import pytest

from resonate.payloads.readable import call_in
from resonate_infra.console.application import console
from resonate_infra.console.backend import ConsoleSession, TableBackend
from resonate_infra.console.rendering import STATUSES, url
from resonate_store.model.records import Record
from resonate_store.model.schedule_requests import ScheduleSearch
from resonate_store.model.tags import FUNC, ORIGIN, SCOPE
from tests.support.clocks import SettableClock
from tests.support.console_pages import Browser, rows_in, text_of
from tests.support.hypothesis_settings import some
from tests.upgrade.fixtures import SUBSTRATES, Fixture, fixtures_of, generations, open_sqlite, open_table
from tests.upgrade.scenarios import SCENARIOS, SECTIONS
from tests.upgrade.stacks import Substrate, TableStack, promise_of, records_of

LIVE = {"running", "waiting for a worker", "waiting", "retrying", "halted"}
"""What a pending execution does, in the words of the list."""


@pytest.fixture(scope="module")
def deployed() -> Iterator[TableStack]:
    with TableStack(SettableClock()) as stack:
        yield stack


class Shown:
    """Console over the stores of one fixture.

    Args:
        stack: the fixture's stack.
    """

    def __init__(self, stack: Substrate) -> None:
        self._stack = stack
        session = ConsoleSession(stack.store, stack.clock)
        self._client = Browser(console(TableBackend(session, "a fixture", {}, lambda _: "")), "http://localhost")

    def get(self, path: str, **query: str) -> str:
        response = self._client.request("GET", url(path, **query))
        assert response.status_code == 200, (path, query, text_of(response.text))
        return response.text

    def listed(self) -> dict[str, list[str]]:
        """Return the cells of every execution in the list, by id."""
        rows: dict[str, list[str]] = {}
        query: dict[str, str] = {}
        while True:
            page = self.get("/executions", **query)
            rows |= {row[1]: row for row in rows_in(page) if len(row) > 2}
            following = re.search(r'rel="next" href="[^"]*cursor=([^"&]+)', page)
            if following is None:
                return rows
            query = {"cursor": unescape(following[1])}

    def finds_everything(self) -> int:
        """Assert that the console shows what is stored, and return how many executions and schedules these are."""
        records = {record.id: record for record in records_of(self._stack)}
        roots = {id: record for id, record in records.items() if record.tags.get(ORIGIN, id) == id}
        rows = self.listed()
        assert rows.keys() == roots.keys()
        for id, root in roots.items():
            state = promise_of(self._stack, id).state
            words = {STATUSES[state]} if state != "pending" else LIVE
            function = call_in(root.promise())[0]
            assert rows[id][0] in words
            assert rows[id][2].startswith(function or "a promise")
            below = [each for each in records.values() if each.id.startswith(f"{id}.")]
            self._opens(root, function, words, [each for each in below if each.tags.get(ORIGIN) == id])
        schedules = self._stack.store.apply(ScheduleSearch(limit=25)).schedules or ()
        occurring = [row for row in rows_in(self.get("/schedules")) if len(row) > 1]
        assert [row[0].split()[0] for row in occurring] == [schedule.id for schedule in schedules]
        for schedule in schedules:
            assert unescape(self.get("/schedule", id=schedule.id)).count(schedule.cron) == 1
        return len(roots) + len(schedules)

    def _opens(self, root: Record, function: str | None, words: set[str], records: list[Record]) -> None:
        id = root.id
        head = text_of(self.get("/execution", id=id).partition("<main")[2])
        assert any(f"{id} {word}" in head for word in words), head
        assert function is None or f"Function {function}" in head
        tree = text_of(self.get("/execution", id=id, view="tree"))
        raw = text_of(self.get("/execution", id=id, view="records"))
        self.get("/execution", id=id, view="messages")
        for record in records:
            assert record.id in raw
            self.get("/promise", id=record.id, part="panel")
            name = record.tags.get(FUNC, "a")
            is_step = record.tags.get(SCOPE) == "local" and not name.startswith("a ")  # else "a sleep", or "a promise"
            if is_step and FUNC in record.tags and record.id.count(".") == id.count(".") + 1:
                assert name in tree


FIXTURES = [fixture for generation in generations() for fixture in fixtures_of(generation, list(SCENARIOS))]


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_console_shows_executions_of_earlier_releases(
    substrate: str, section: str, tmp_path: Path, deployed: TableStack, subtests: pytest.Subtests
) -> None:
    found = [each for each in FIXTURES if (each.substrate, SCENARIOS[each.scenario].section) == (substrate, section)]
    assert found
    for number, fixture in enumerate(some(found, 5)):
        with subtests.test(str(fixture)):
            assert shown(fixture, deployed, tmp_path / f"{number}.db") > 0


def shown(fixture: Fixture, deployed: TableStack, path: Path) -> int:
    if fixture.substrate == "dynamodb":
        return Shown(open_table(fixture, deployed)).finds_everything()
    with closing(open_sqlite(fixture, path)) as stack:
        return Shown(stack).finds_everything()
