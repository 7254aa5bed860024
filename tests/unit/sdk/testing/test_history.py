import json

import pytest

from resonate import Context, Resonate
from resonate.errors import ResonateStoreError
from resonate.retry_policies import Constant
from resonate.testing import History, HistoryFormatError, MemoryStack, Recorded, export_history, replay
from resonate_store.local.memory import MemoryStore
from resonate_store.model.requests import PromiseCreate
from resonate_store.model.tags import TARGET
from tests.unit.sdk.testing.programs import Flow, approval, branching, charge, stubborn, trial

SHOWN = """\
History of b1:
  b1      execution of branching          pending, its task suspended
  b1.1    run rest                        pending
  b1.1.1  a sleep                         pending
  b1.2    run rest                        pending
  b1.2.1  a sleep                         pending
  b1.3    rpc trial                       pending, its task suspended
  b1.4    run charge with the id the-charge  resolved 'charged 5 EUR'"""


def test_history_lists_commands_and_outcomes(stack: MemoryStack) -> None:
    stack.run(trial, "ada", id="t1")
    history = stack.history("t1")

    assert history.commands == ["run notify", "a sleep", "run charge"]
    outcomes = [record.outcome() for record in history[1:]]
    assert outcomes == ["resolved 'told: welcome ada'", "resolved", "resolved 'charged 9 EUR'"]
    assert history.root.value == "charged 9 EUR"
    assert history.root.param["args"] == ["ada"]
    assert history["t1.2"].settled_at == history["t1.1"].created_at + 30 * 86_400_000
    assert ("t1.3" in history, "t1.4" in history, history.find("t1.4")) == (True, False, None)


def test_history_repr_is_a_table(stack: MemoryStack) -> None:
    stack.start(branching, id="b1")

    table = repr(stack.history("b1"))
    assert table.split() == SHOWN.split()
    words = ("exec", "run", "a s", "run", "a s", "rpc", "run")
    widths = {line.index(word) for line, word in zip(table.splitlines()[1:], words, strict=True)}
    assert len(widths) == 1, "the columns are aligned"


def test_history_leaves_out_detached_trees_and_similar_ids(stack: MemoryStack) -> None:
    stack.run(branching, id="a")
    history = stack.history("a")
    stack.run(branching, id="a.b")

    assert [record.id for record in stack.history("a")] == [record.id for record in history]
    assert stack.history("a.b")["a.b.1"].command == history["a.1"].command
    assert [record.id for record in history if record.foreign] == ["a.3"]
    assert "a.3.1" not in history
    assert stack.history("a.3").commands == ["run notify", "a sleep"]


def test_history_shows_marks_of_attempts_after_their_step(stack: MemoryStack) -> None:
    def moody(ctx: Context) -> str:
        if ctx.info.attempt == 1:
            raise ValueError("again")
        return "ok"

    def workflow(ctx: Context) -> Flow:
        yield ctx.run(moody).options(at_most_once=True, retry_policy=Constant(60))
        return (yield ctx.run(moody).options(retry_policy=Constant(60)))

    stack.run(workflow, id="w")
    history = stack.history("w")

    shown = [(record.id, record.command) for record in history[1:]]
    assert shown == [
        ("w.1", "run moody"),
        ("w.1~m1", "attempt moody"),
        ("w.1~1", "a retry timer"),
        ("w.1~m2", "attempt moody"),
        ("w.2", "run moody"),
        ("w.2~1", "a retry timer"),
    ]
    assert history.commands == ["run moody", "run moody"]
    assert replay(history, workflow).finished
    assert stack.invocations.total() == 3
    assert export_history(stack.store, "w") == History.from_json(history.to_json())


def test_history_is_in_the_order_of_numbers(stack: MemoryStack) -> None:
    def many(ctx: Context) -> Flow:
        for _ in range(11):
            yield ctx.run(charge, 1)

    stack.fail("m1.2", times=1)
    stack.run(many, id="m1")
    stack.run(stubborn, id="s1")

    numbers = (f"m1.{n}" for n in range(3, 12))
    assert [record.id for record in stack.history("m1")] == ["m1", "m1.1", "m1.2", "m1.2~1", *numbers]
    assert stack.history("m1").commands == ["run charge"] * 11
    assert stack.history("m1")["m1.2~1"].command == "a retry timer"


def test_history_shows_errors_of_failures(stack: MemoryStack) -> None:
    stack.start(approval, id="a1")
    stack.reject("a1.1", ValueError("no"))
    stack.start(approval, id="a2")
    stack.cancel("a2.1")

    assert stack.history("a1")["a1.1"].outcome() == "rejected ValueError('no')"
    assert str(stack.history("a1").root.error) == "no"
    assert stack.history("a1").root.value is None
    assert stack.history("a2")["a2.1"].outcome() == "rejected_canceled"


def test_history_table_shortens_long_and_unreadable_values(stack: MemoryStack) -> None:
    stack.start(approval, id="a1")
    stack.resolve("a1.1", "x" * 500)
    assert len(max(repr(stack.history("a1")).splitlines(), key=len)) < 120
    program = Resonate(store=stack.client().store)
    stack.store.apply(PromiseCreate("p1", stack.clock.now() + 1000))
    program.promises.resolve("p1", headers={}, data="not json")
    assert stack.history("p1").root.outcome() == "resolved, 12 characters"


def test_history_is_exported_from_any_store() -> None:
    store = MemoryStore()
    store.apply(PromiseCreate("w1", store.clock.now() + 1000, tags={TARGET: "poll://any@g"}))
    store.apply(PromiseCreate("w1.1", store.clock.now() + 1000))

    history = export_history(store, "w1")
    assert [record.id for record in history] == ["w1", "w1.1"]
    assert history.root.task is not None
    assert history.root.task.state == "pending"
    with pytest.raises(ResonateStoreError, match="not found"):
        export_history(store, "w2")


def test_history_comes_back_from_json(stack: MemoryStack) -> None:
    stack.start(branching, id="b1")
    history = stack.history("b1")
    text = history.to_json()

    assert History.from_json(text) == history
    assert History.from_json(text.encode()).to_json() == text
    assert hash(History.from_json(text)) == hash(history)
    assert history != stack.history("b1.3")


def test_history_json_has_the_documented_format(stack: MemoryStack) -> None:
    stack.start(approval, id="a1")
    document = json.loads(stack.history("a1").to_json())

    assert document.keys() == {"format", "version", "id", "records"}
    assert (document["format"], document["version"], document["id"]) == ("resonate-history", 1, "a1")
    assert [record.keys() for record in document["records"]] == [{"promise", "task"}, {"promise"}]
    assert document["records"][0]["task"]["state"] == "suspended"
    assert document["records"][1]["promise"]["timeoutAt"] == stack.history("a1")["a1.1"].timeout_at


def test_history_refuses_other_texts(subtests: pytest.Subtests) -> None:
    cases: list[tuple[str, str]] = [
        ("nonsense", "this is no history of an execution"),
        ("[]", "this is no history of an execution"),
        ('{"format": "resonate-history", "version": 2}', "'resonate-history' in version 2: export it again"),
        ('{"format": "other", "version": 1}', "this is 'other' in version 1"),
        ('{"format": "resonate-history", "version": 1, "id": "w"}', "damaged: .*missing required field `records`"),
        ('{"format": "resonate-history", "version": 1, "id": "w", "records": []}', "has to have the record of w"),
    ]
    for text, message in cases:
        with subtests.test(message=message), pytest.raises(HistoryFormatError, match=message):
            History.from_json(text)


def test_history_needs_its_root(stack: MemoryStack) -> None:
    stack.start(approval, id="a1")
    records: list[Recorded] = list(stack.history("a1"))[1:]
    with pytest.raises(ValueError, match="has to have the record of a1"):
        History("a1", records)


def test_history_is_the_present_one_of_an_execution(stack: MemoryStack) -> None:
    def monitor(ctx: Context, seen: int) -> Flow:
        yield ctx.run(charge, seen)
        yield ctx.sleep(86_400)
        return ctx.continue_as(seen + 1)

    stack.start(monitor, 1, id="m")
    assert stack.history("m").generation == 1
    stack.advance(days=11)
    history = stack.history("m")
    assert (history.generation, history.commands) == (12, ["run charge", "a sleep"])
    assert [record.id for record in history] == ["m", "m.12+0", "m.12+1", "m.12+2"]
    assert history["m.12+0"].command == "the arguments of generation 12"
    assert history["m.12+0"].value["args"] == [12]
    assert History.from_json(history.to_json()) == history
