"""The store of a client and its message source, by arguments and by environment."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from resonate import Resonate
from resonate.message_sources import LocalMessageSource, Poller
from resonate.stores import LocalStore, RemoteStore
from resonate_store.local.memory import MemoryStore
from resonate_store.model.requests import PromiseGet
from tests.support.serving import Serving


def test_client_without_a_table_has_promises_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESONATE_TABLE", raising=False)
    assert isinstance(Resonate().store, MemoryStore)
    for variable in ("RESONATE_TABLE", "RESONATE_HOST", "RESONATE_HOST_STORE", "RESONATE_PORT_STORE"):
        text = "" if "TABLE" in variable else "9" if "PORT" in variable else "http://nowhere.invalid"
        monkeypatch.setenv(variable, text)
        assert isinstance(Resonate().store, MemoryStore)


def test_table_of_the_environment_is_used_except_by_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESONATE_TABLE", "a-table")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")

    assert isinstance(Resonate.local().store, MemoryStore)
    assert type(Resonate().store).__name__ == "DynamoStore"
    own = MemoryStore()
    assert Resonate(store=own).store is own


def test_url_of_the_environment_selects_the_server(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESONATE_URL", serving.url)
    for resonate in (Resonate(), Resonate.remote()):
        assert isinstance(resonate.store, RemoteStore)
        assert resonate.store.apply(PromiseGet("p")).status == 404
        resonate.stop()
    assert not isinstance(Resonate.local().store, RemoteStore)


def test_ports_of_a_server_can_be_texts_or_numbers(serving: Serving) -> None:
    for port in (serving.port, str(serving.port)):
        resonate = Resonate.remote(host="http://127.0.0.1", store_port=port, message_source_port=port, group="g")
        resonate.start()
        serving.wait_for_stream("g")
        resonate.stop()


def test_signed_api_is_not_polled() -> None:
    resonate = Resonate.remote(url="https://abc.execute-api.eu-west-1.amazonaws.com")
    resonate.start()
    assert not [thread for thread in threading.enumerate() if thread.name == "resonate-poll"]
    resonate.stop()


def test_store_and_source_that_do_not_fit_are_refused(subtests: pytest.Subtests) -> None:
    store: Any = LocalStore()
    source = LocalMessageSource(store, "g", "i")
    both = "must not be a `LocalMessageSource` when store is MemoryStore"
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"store": store}, TypeError, "message_source must be a `LocalMessageSource` when store"),
        ({"store": store, "message_source": 5}, TypeError, "must be a `MessageSource`, got int"),
        ({"message_source": source}, ValueError, "give both or neither"),
        ({"message_source": "poll://"}, TypeError, "message_source must be a `MessageSource`, got str"),
        ({"store": MemoryStore(), "message_source": source}, TypeError, both),
        ({"store": {}}, TypeError, "store must be a `Store`, got dict"),
    ]
    for arguments, error, message in cases:
        with subtests.test(message), pytest.raises(error, match=message):
            Resonate(**arguments)


def test_message_source_can_be_given(serving: Serving) -> None:
    resonate = Resonate(store=RemoteStore(serving.url), message_source=Poller("elsewhere", "p", url=serving.url))
    resonate.start()
    serving.wait_for_stream("elsewhere")
    resonate.stop()
