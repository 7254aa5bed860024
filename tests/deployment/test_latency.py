"""`docs/latency.md` shows what the models print, and the models add up."""

from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from benchmarks import latency, load
from benchmarks.simulation import Graph, Requests, Simulation
from tests.support.hypothesis_settings import in_ci
from tests.support.shipped_template import document

PAGE = Path(__file__).parents[2] / "docs" / "latency.md"
ADVICE = "paste what `python -m benchmarks.latency --check` prints"
LOAD_ADVICE = "paste what `python -m benchmarks.load` prints"
MEDIANS = {"call": 10.0}


def test_latency_page_shows_modelled_latencies_and_met_targets() -> None:
    page = PAGE.read_text(encoding="utf-8")
    figures = {mode: latency.measured(mode) for mode in latency.MODES}
    targets, missed = latency.checked(figures["writer"])

    assert latency.table(figures) in page, ADVICE
    assert latency.latencies() in page, ADVICE
    assert targets in page, ADVICE
    assert missed == []


def test_median_above_its_target_is_missed() -> None:
    name = "a remote call"
    figures = dict.fromkeys(latency.SCENARIOS, latency.Figure(1, 2)) | {name: latency.Figure(100.5, 200)}

    table, missed = latency.checked(figures)

    assert missed == [name]
    assert f"| {name} | 100 | 100 | missed |" in table


@in_ci
def test_latency_page_shows_computed_load() -> None:
    page = PAGE.read_text(encoding="utf-8")
    needs = {mode: load.measured(mode) for mode in latency.MODES}

    assert load.table(load.scenarios(needs)) in page, LOAD_ADVICE
    assert load.needs_table(needs) in page, LOAD_ADVICE
    assert load.sweeps(needs) in page, LOAD_ADVICE
    assert load.limits_table() in page, LOAD_ADVICE


def test_limits_of_the_template_are_those_of_the_load_model() -> None:
    template: Any = document()
    resources, parameters = template["Resources"], template["Parameters"]
    events = [source for name in ("DispatchFunction", "TickFunction") for source in events_of(resources[name]).values()]

    assert parameters["TimerConcurrency"]["Default"] == load.TIMERS_AT_ONCE.value
    assert {source["Properties"]["BatchSize"] for source in events if source["Type"] == "SQS"} == {load.BATCH.value}
    assert [source["Properties"]["ParallelizationFactor"] for source in events if source["Type"] == "DynamoDB"] == [
        load.LANES_OF.value
    ]
    asynchronous = resources["WorkerFunction"]["Properties"]["EventInvokeConfig"]
    assert asynchronous["MaximumEventAgeInSeconds"] == load.AGE.value
    assert load.SWEEP.value == resources["TickFunction"]["Properties"]["Timeout"] - 5


def events_of(function: Mapping[str, Any]) -> Mapping[str, Any]:
    return function["Properties"]["Events"]


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

    with simulation.running():
        simulation.begin(fail, 0)
        with pytest.raises(ValueError, match="broken"):
            simulation.run()


def test_flow_names_the_scarcest_limit_and_the_waits() -> None:
    limits = [load.constant("narrow", 2, 10), load.constant("wide", 1, 100)]

    outcome = load.flow([20], limits, 1.0)

    assert outcome == load.Outcome("narrow", most=5, waiting=15, longest_s=3, until_s=4, dollars=1.0)


def test_flow_without_bottleneck_waits_for_nothing() -> None:
    outcome = load.flow([5, 5], [load.constant("wide", 1, 5)], 1.0)

    assert (outcome.binds, outcome.waiting, outcome.longest_s) == ("", 0, 0)


def test_lambda_tries_an_event_at_growing_intervals() -> None:
    assert list(load.tries(100)) == [100, 101, 103, 107, 115, 131, 163, 227, 355, 611, 911]


def test_offers_repeat_at_sweeps_after_growing_pauses() -> None:
    assert load.offers_of(10)[:5] == [10, 60, 120, 240, 480]
