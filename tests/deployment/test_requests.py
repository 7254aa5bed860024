"""Counted requests to DynamoDB, as docs/costs.md has them."""

from collections import Counter
from typing import Any

import pytest

from resonate_infra.testing.stack import Event, OfflineStack
from resonate_store.model.requests import PromiseSettle
from tests.deployment.conftest import Begin
from tests.support import journal

# A warm function remembers records of another test, which changes the counts.
pytestmark = pytest.mark.usefixtures("cold")

Costs = dict[str, Counter[str]]


def costs(stack: OfflineStack) -> Costs:
    """Return the requests to DynamoDB since the reset of the counts, by function."""
    found: Costs = {}
    for call in stack.calls:
        if call.service == "dynamodb":
            found.setdefault(call.caller, Counter())[call.operation] += 1
    return found


def first_run(stack: OfflineStack, begin: Begin, steps: int) -> Costs:
    begin(f"first-{steps}", "journey", steps)
    stack.reset_counts()
    stack.pump()
    return costs(stack)


def first_resume(stack: OfflineStack, begin: Begin, steps: int) -> Costs:
    begin(f"resume-{steps}", "journey", steps)
    stack.pump()
    stack.reset_counts()
    stack.clock.sleep(60_000)
    # Count up to the invocation that resumes, without the rpc that follows.
    resumed: list[Costs] = []

    def watch(event: Event) -> None:
        if event.function == "WorkerFunction":
            resumed.append(costs(stack))

    stack.watch = watch
    stack.pump()
    return resumed[0]


def test_local_step_costs_one_write(stack: OfflineStack, begin: Begin) -> None:
    ten, thirty = first_run(stack, begin, 10), first_run(stack, begin, 30)

    assert thirty["WorkerFunction"] - ten["WorkerFunction"] == Counter(PutItem=20)
    assert ten["WorkerFunction"] - thirty["WorkerFunction"] == Counter()
    assert [run.keys() for run in (ten, thirty)] == [{"WorkerFunction"}] * 2, "local steps involve no other function"


def test_first_run_costs_an_acquisition_creations_and_a_suspension(stack: OfflineStack, begin: Begin) -> None:
    requests = first_run(stack, begin, 10)

    # Acquire: a read and a write. Ten steps, the sleep and the suspension: a write each.
    assert requests == {"WorkerFunction": Counter(GetItem=1, PutItem=1 + 10 + 1 + 1)}


def test_resume_costs_the_same_for_any_number_of_steps(
    stack: OfflineStack, begin: Begin, subtests: pytest.Subtests
) -> None:
    for steps in (10, 30):
        with subtests.test(steps=steps):
            stack.processes.forget_all()
            requests = first_resume(stack, begin, steps)
            # A read and a write each to settle the sleep and to resume the task, and a write to clear the settlement.
            assert requests["TickFunction"] == Counter(GetItem=2, PutItem=3)
            # The worker acquires with at most a read and a write, queries once, creates the rpc and suspends.
            assert requests["WorkerFunction"] <= Counter(GetItem=1, PutItem=1 + 1 + 1, Query=1)
            assert requests.keys() == {"TickFunction", "WorkerFunction"}
            assert set(journal.runs.values()) == {1}


def test_replay_queries_once_for_each_megabyte(stack: OfflineStack, begin: Begin) -> None:
    begin("light", "heavy", 4, 20_000)
    begin("massive", "heavy", 40, 24_000)
    stack.pump()
    queries = {}
    for id, steps in (("light", 4), ("massive", 40)):
        stack.reset_counts()
        stack.processes.forget_all()
        stack.store.apply(PromiseSettle(f"{id}.{steps + 1}", "resolved"))
        stack.pump()
        queries[id] = costs(stack)["WorkerFunction"]["Query"]

    # 40 x 24,000 characters become 1.28 MB of base64, none of it large enough for S3.
    assert queries == {"light": 1, "massive": 2}
    assert journal.runs["massive.1"] == 1


def test_workflow_end_costs_a_marker_and_a_write(stack: OfflineStack, begin: Begin) -> None:
    begin("w1", "double", 4)
    stack.reset_counts()
    stack.pump()

    # Acquire, the retention marker, fulfill.
    assert costs(stack) == {"WorkerFunction": Counter(GetItem=1, PutItem=3)}


def whole(stack: OfflineStack, begin: Begin, name: str, *arguments: Any) -> Counter[str]:
    """Return all requests for one workflow, from its creation to its end."""
    id = f"{name}-{'-'.join(map(str, arguments))}"
    stack.reset_counts()
    begin(id, name, *arguments)
    stack.run_until_complete(id)
    requests = sum(costs(stack).values(), Counter[str]())
    return requests + Counter(PutItem=1)  # Made by the client.


def test_workflow_without_waiting_costs_four_writes_and_its_steps(
    stack: OfflineStack, begin: Begin, subtests: pytest.Subtests
) -> None:
    for steps in (0, 1, 20):
        with subtests.test(steps=steps):
            assert whole(stack, begin, "steps_only", steps) == Counter(PutItem=steps + 4, GetItem=1)
            assert stack.invocations["WorkerFunction"] == 1
            assert stack.invocations.total() == 1


def test_workflow_costs_what_its_commands_cost(stack: OfflineStack, begin: Begin) -> None:
    def added(steps: int, name: str, *arguments: Any) -> Counter[str]:
        return whole(stack, begin, name, *arguments) - whole(stack, begin, "steps_only", steps)

    # A sleep is created, settled and delivered. Its awaiter is suspended, resumed and acquired.
    assert added(0, "nap", 60.0) == Counter(PutItem=6, GetItem=3, Query=1)
    # A running worker reads its task every two seconds.
    assert [added(seconds, "busy", seconds) for seconds in (1, 10)] == [Counter(), Counter(GetItem=3)]
    assert added(2, "nesting") == Counter(PutItem=2)
    # Each step is marked once before it runs.
    assert added(3, "marked", 3) == Counter(PutItem=3)
    # Each patch has a marker. Its answer costs nothing in the replay after the sleep.
    slept = whole(stack, begin, "nap", 61.0)
    assert whole(stack, begin, "amended", 3) - slept == Counter(PutItem=3 + 3)


def test_suspension_costs_an_update_for_each_unregistered_promise(
    stack: OfflineStack, begin: Begin, subtests: pytest.Subtests
) -> None:
    for calls in (2, 5):
        with subtests.test(calls=calls):
            stack.reset_counts()
            first: list[Costs] = []
            stack.watch = lambda _event, first=first: first.append(costs(stack))
            begin(f"fan-{calls}", "fan_out", calls)
            stack.pump()
            # Acquire and suspend, and create each call. It is not known at their creation which of them is awaited.
            assert first[0]["WorkerFunction"] == Counter(GetItem=1, PutItem=2 + calls, UpdateItem=1)


def test_remote_call_costs_one_invocation(stack: OfflineStack, begin: Begin) -> None:
    alone, invocations = whole(stack, begin, "nap", 60.0), stack.invocations.total()
    both = whole(stack, begin, "journey", 0)

    # The call is created, acquired, settled and delivered. Its caller is suspended, then resumed and acquired.
    assert both - alone == Counter(PutItem=6, GetItem=2, Query=1)
    assert stack.invocations.total() - invocations == 1


def test_settlement_from_outside_costs_two_writes(stack: OfflineStack, begin: Begin) -> None:
    begin("w1", "approval")
    stack.pump()
    stack.cloud.calls.clear()
    stack.store.apply(PromiseSettle("w1.1", "resolved"))

    operations = [call.operation for call in stack.cloud.calls]
    assert operations == ["GetItem", "GetItem", "PutItem", "PutItem", "Invoke"]


def test_call_of_a_client_costs_one_write(stack: OfflineStack, begin: Begin) -> None:
    stack.reset_counts()
    begin("w1", "double", 4)

    assert [call.operation for call in stack.cloud.calls] == ["PutItem", "Invoke"]


def test_idle_sweep_costs_two_queries_for_each_shard(stack: OfflineStack) -> None:
    stack.reset_counts()
    stack.sweep()

    assert costs(stack) == {"TickFunction": Counter(Query=2 * stack.store.shards)}


def test_message_costs_one_transaction_to_send_and_one_to_take(stack: OfflineStack, begin: Begin) -> None:
    """Docs/costs.md has these requests."""
    begin("c", "chat")
    stack.pump()
    stack.processes.forget_all()
    stack.reset_counts()
    stack.send("c", "chat", "hello")
    # Acquire, replay, take with the timer of the timeout, a step, publish, begin the next timer, suspend.
    # The dispatcher deletes the EventBridge schedule of the timer, and writes nothing.
    assert costs(stack) == {
        "WorkerFunction": Counter(GetItem=1 + 2, PutItem=1 + 1 + 2 + 1 + 1, Query=1, TransactWriteItems=1)
    }
    begin("t", "talk", "c")
    stack.reset_counts()
    stack.pump()
    requests = costs(stack)["WorkerFunction"]
    assert (requests["TransactWriteItems"], requests["BatchGetItem"]) == (2, 0)
