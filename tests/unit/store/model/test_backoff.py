from resonate_store.model.backoff import Backoff


def test_backoff_grows_to_its_longest_pause() -> None:
    pauses = {1: 100, 2: 300, 3: 900, 4: 1000, 10_000: 1000}
    assert {tries: Backoff(100, 1_000, factor=3).pause_ms(tries) for tries in pauses} == pauses


def test_backoff_leaves_out_its_spread_by_chance() -> None:
    assert [Backoff(1_000, 9_000, spread=0.5, chance=lambda: 0.5).pause_ms(tries) for tries in (1, 2)] == [750, 1_500]
    assert Backoff(1_000, 9_000, spread=1, chance=lambda: 1.0).pause_ms(1) == 1
