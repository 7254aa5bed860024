"""What tests do with a stack: run, start and settle executions, and register functions."""

from collections import Counter

import pytest

from resonate import Context
from resonate.errors import ResonateCanceledError, ResonateTimedoutError
from resonate.testing import MemoryStack, Stuck
from resonate_store.model.requests import PromiseCreate
from tests.unit.sdk.testing.programs import Flow, approval, trial


def test_function_is_served_with_its_program_or_registered() -> None:
    def double(ctx: Context, n: int) -> Flow:
        yield ctx.sleep(1.5)
        return 2 * n

    stack = MemoryStack()
    assert stack.run(trial, "ada") == "charged 9 EUR"
    assert [stack.run(double, 2), stack.run("double", 3), stack.run(double, n=4)] == [4, 6, 8]


def test_unknown_function_is_refused_with_the_known_ones(stack: MemoryStack) -> None:
    with pytest.raises(ValueError, match="has registered nothing_like_it; it knows approval, book, branching"):
        stack.run("nothing_like_it")
    with pytest.raises(ValueError, match="the id is empty"):
        stack.run(trial, "ada", id="")


def test_start_runs_until_only_time_is_missing(stack: MemoryStack) -> None:
    handle = stack.start(trial, "ada", id="t1")

    assert handle.id == "t1"
    assert not handle.done()
    assert [record.state for record in stack.history("t1")] == ["pending", "resolved", "pending"]
    with pytest.raises(TimeoutError):
        handle.result(timeout=60)
    stack.advance(weeks=4, days=1, hours=23, minutes=58, seconds=59.9)
    assert not handle.done()
    stack.advance(seconds=0.1)
    assert handle.done()
    assert (handle.result(), stack.result("t1")) == ("charged 9 EUR", "charged 9 EUR")


def test_run_with_an_existing_id_attaches(stack: MemoryStack) -> None:
    assert stack.run(trial, "ada", id="t1") == stack.run(trial, "ada", id="t1")
    assert stack.invocations == Counter(shop=2)


def test_default_ids_count_per_function(stack: MemoryStack) -> None:
    ids = [stack.start(trial, "ada").id, stack.start(approval).id, stack.start(trial, "bob").id]
    assert ids == ["trial-1", "approval-1", "trial-2"]


def test_default_id_skips_ids_that_exist(stack: MemoryStack) -> None:
    stack.start(trial, "ada", id="trial-1")
    stack.start(trial, "bob", id="trial-3")

    assert [stack.start(trial, "cy").id for _ in range(2)] == ["trial-2", "trial-4"]


def test_cancelled_handle_is_delivered_at_once(stack: MemoryStack) -> None:
    handle = stack.start(approval, id="a1")

    assert handle.cancel("not needed") == "accepted"
    assert stack.history("a1").root.state == "rejected_canceled"


def test_options_of_the_stack_reach_the_execution(stack: MemoryStack) -> None:
    with pytest.raises(ResonateTimedoutError):
        stack.options(timeout=60, tags={"k": "v"}).run(approval, id="a1")
    assert stack.history("a1").root.tags["k"] == "v"


def test_arguments_and_results_are_encoded_and_restored(stack: MemoryStack) -> None:
    def pair(_: Context, items: tuple[int, ...]) -> tuple[int, ...]:
        return (*items, 3)

    assert stack.run(pair, (1, 2)) == (1, 2, 3)
    assert stack.result("pair-1") == [1, 2, 3]


def test_promise_is_settled_by_the_test(stack: MemoryStack) -> None:
    one, two, three = (stack.start(approval, id=id) for id in ("a1", "a2", "a3"))
    stack.resolve("a1.1", {"yes": True})
    stack.reject("a2.1", ValueError("no"))
    stack.cancel("a3.1")

    assert one.result() == {"yes": True}
    with pytest.raises(ValueError, match="no"):
        two.result()
    with pytest.raises(ResonateCanceledError):
        three.result()
    with pytest.raises(AssertionError, match=r"a1\.1 is resolved already"):
        stack.resolve("a1.1")
    with pytest.raises(AssertionError, match="there is no promise a4; no promise waits to be settled"):
        stack.resolve("a4")


def test_settling_a_missing_promise_names_those_that_wait(stack: MemoryStack) -> None:
    for number in range(7):
        stack.start(approval, id=f"b{number}")
    for settle in (stack.resolve, stack.cancel):
        with pytest.raises(Stuck, match=r"no promise b3\.2; these wait to be settled: b3\.1, (b\d\.1, ){3}") as caught:
            settle("b3.2")
        assert str(caught.value).endswith(" and 2 more")
        assert caught.value.waits[0] == "b3.1"


def test_run_waits_for_a_given_deadline(stack: MemoryStack) -> None:
    began = stack.clock.now()
    with pytest.raises(ResonateTimedoutError):
        stack.run(approval, 3600)
    assert stack.clock.now() == began + 3_600_000


def test_run_until_complete_waits_for_any_promise(stack: MemoryStack) -> None:
    stack.store.apply(PromiseCreate("t", stack.clock.now() + 5000, tags={"resonate:timer": "true"}))
    assert stack.run_until_complete("t").settled_at == stack.clock.now()


def test_functions_are_registered_in_groups_and_at_addresses() -> None:
    def caller(ctx: Context, target: str) -> Flow:
        return (yield ctx.rpc("ship").options(target=target))

    def ship(ctx: Context) -> str:
        return f"shipped by {ctx.get_dependency('who')}"

    stack = MemoryStack(dependencies={"who": "nobody"})
    stack.set_dependency("who", "a function")
    stack.register(ship, group="lambda://carrier:live")
    assert stack.run(caller, "lambda://carrier:live") == "shipped by a function"
    with pytest.raises(ValueError, match="already registered"):
        stack.register(ship)


def test_dependency_of_the_stack_replaces_that_of_a_program(stack: MemoryStack) -> None:
    stack.set_dependency("currency", "USD")
    assert stack.run(trial, "ada", 1) == "charged 9 USD"
