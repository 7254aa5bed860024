from __future__ import annotations

import pytest

from resonate_store.model.clock import ManualClock, SystemClock, ambient, installed, instant


def test_manual_clock_does_not_go_back() -> None:
    clock = ManualClock(10)
    with pytest.raises(ValueError, match=r"cannot go back: advance\(-1\)"):
        clock.advance(-1)
    assert (clock.advance_to(5), clock.advance_to(12), clock.advance(3), clock.now()) == (10, 12, 15, 15)
    clock.sleep(-1)
    clock.sleep(5)
    assert clock.now() == 20


def test_system_clock_does_not_go_back(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((5_000_000, 3_000_000, 6_999_999))
    monkeypatch.setattr("time.time_ns", lambda: next(times))
    clock = SystemClock()
    assert [clock.now() for _ in range(3)] == [5, 5, 6]


def test_installed_clock_is_ambient_in_the_block() -> None:
    before, clock = ambient(), ManualClock()
    with installed(clock) as given:
        assert ambient() is given is clock
    assert ambient() is before


def test_instant_after_the_calendar_is_never() -> None:
    assert (instant(0), instant(2**53)) == ("1970-01-01T00:00:00Z", "never")
