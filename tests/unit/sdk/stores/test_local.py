"""`LocalStore` under a client."""

from __future__ import annotations

from resonate import Context, Resonate
from resonate.message_sources import LocalMessageSource
from resonate.stores import LocalStore
from tests.support.driver import Flow
from tests.support.steps import double


def test_client_runs_on_a_local_store() -> None:
    store = LocalStore()
    resonate = Resonate(store=store, message_source=LocalMessageSource(store, "mine", "me"))

    resonate.register(double)

    @resonate.register
    def workflow(ctx: Context, n: int) -> Flow:
        return (yield ctx.rpc("double", n)) + (yield (yield ctx.promise(id="answer")))

    handle = resonate.begin_run("w", workflow, 20)
    store.promises.create("answer", 2**50, ikey="answer")
    store.promises.resolve("answer", data="2")

    assert handle.result(10) == 42
    assert resonate.store is store
    assert store.promises.get("w.1").tags["resonate:invoke"] == "poll://any@mine"
    assert store.promises.get("w").ikey_for_create == "w"
    assert store.promises.resolve("w", ikey="w").resolved
    resonate.stop()
