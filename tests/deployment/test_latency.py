"""`docs/latency.md` shows what the models print, and the models add up."""

from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path

import pytest

from benchmarks import latency
from benchmarks.simulation import Graph, Requests, Simulation

PAGE = Path(__file__).parents[2] / "docs" / "latency.md"
ADVICE = "paste what `python -m benchmarks.latency --check` prints"
MEDIANS = {"call": 10.0}


@pytest.fixture(scope="module")
def figures() -> Mapping[str, Mapping[str, latency.Figure]]:
    return {mode: latency.measured(mode) for mode in latency.MODES}


def test_latency_page_shows_modelled_latencies(figures: Mapping[str, Mapping[str, latency.Figure]]) -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert latency.table(figures) in page, ADVICE
    assert latency.latencies() in page, ADVICE
    assert latency.checked(figures["writer"])[0] in page, ADVICE


def test_medians_meet_targets_with_delivery_by_writer(figures: Mapping[str, Mapping[str, latency.Figure]]) -> None:
    assert latency.checked(figures["writer"])[1] == []


def test_slow_median_misses_its_target(figures: Mapping[str, Mapping[str, latency.Figure]]) -> None:
    _, missed = latency.checked(figures["stream"])

    assert missed == [name for name, scenario in latency.SCENARIOS.items() if scenario.target_ms is not None]


def constant() -> Simulation:
    return Simulation(Graph(MEDIANS, 1, spread=1.0), start=0)


def call(simulation: Simulation) -> float:
    simulation.hold(simulation.graph.draw("call"))
    return simulation.instant


def test_simulated_threads_run_at_the_same_time() -> None:
    simulation = constant()
    ended: list[float] = []
    with simulation.running():
        for _ in range(3):
            simulation.begin(lambda: ended.append(call(simulation)), 0)
        simulation.run()

    assert ended == [10.0, 10.0, 10.0]


def test_parallel_requests_wait_for_one_of_eight_places() -> None:
    simulation = constant()
    ended: list[float] = []

    def invocation() -> None:
        requests = Requests(simulation)
        begun: list[Future[float]] = [requests.submit(call, simulation) for _ in range(9)]
        ended.extend(future.result() for future in begun)

    with simulation.running():
        simulation.begin(invocation, 0)
        simulation.run()

    assert ended == [10.0] * 8 + [20.0]


def test_redraw_without_spread_repeats_the_recorded_run() -> None:
    simulation = constant()

    def invocation() -> None:
        futures = [Requests(simulation).submit(call, simulation) for _ in range(9)]
        for future in futures:
            future.result()
        simulation.sleep(5)
        simulation.mark("x", "end")

    with simulation.running():
        simulation.begin(invocation, 0)
        simulation.run()
    end = simulation.marks["x", "end"]

    assert end.instant == 25.0
    assert simulation.graph.redraw(0, end.node, 2) == [25.0, 25.0]


def test_redrawn_latencies_have_the_given_percentiles() -> None:
    graph = Graph(MEDIANS, 1)
    node = graph.after(0, draw=graph.draw("call"))

    median, p99 = latency.figure(graph.redraw(0, node, 10_000))

    assert median == pytest.approx(10, rel=0.05)
    assert p99 == pytest.approx(30, rel=0.1)


def test_error_of_a_simulated_thread_ends_the_run() -> None:
    simulation = constant()

    def fail() -> None:
        raise ValueError("broken")

    with simulation.running(), pytest.raises(ValueError, match="broken"):
        simulation.begin(fail, 0)
        simulation.run()
