from resonate_store.model.backoff import Backoff


def test_backoff_grows_to_its_longest_pause() -> None:
    assert [Backoff(100, 1_000, factor=3).pause_ms(tries) for tries in (1, 2, 3, 4, 10_000)] == [
        100,
        300,
        900,
        1000,
        1000,
    ]


def test_backoff_leaves_out_its_spread_by_chance() -> None:
    assert [Backoff(1_000, 9_000, spread=0.5, chance=lambda: 0.5).pause_ms(tries) for tries in (1, 2)] == [750, 1_500]
    assert Backoff(1_000, 9_000, spread=1, chance=lambda: 1.0).pause_ms(1) == 1
