"""Stores of a user's own class: four methods are enough, and optional members of the class are found by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.encryption import EncryptedStore
from resonate.payloads import codec
from resonate_store.interface import MinimalStore, completed
from resonate_store.local.memory import MemoryStore
from resonate_store.model.records import PromiseView, Value
from resonate_store.model.requests import PromiseCreate, Request, Response
from resonate_store.model.tags import TARGET
from tests.support.driver import Flow


class FourMethods:
    """A user's store around another one."""

    def __init__(self, store: MinimalStore) -> None:
        self.inner = store

    def apply(self, request: Request) -> Response:
        return self.inner.apply(request)

    def children(self, id: str, separator: str = ".") -> Sequence[PromiseView]:
        return self.inner.children(id, separator)

    def open(self) -> FourMethods:
        return self

    def close(self) -> None:
        pass


class Naming(FourMethods):
    """A store that names the store around which it is."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.underlying = store


class PassingOn(FourMethods):
    """A store that passes every attribute on."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Fencing(FourMethods):
    server_clock = MemoryStore().clock

    def fences_records_by(self, id: str, version: int) -> bool:
        return (id, version) == ("a", 1)


class NoEncryption:
    def encrypt(self, value: Value, context: str) -> Value:  # noqa: ARG002
        return value

    def decrypt(self, value: Value, context: str) -> Value:  # noqa: ARG002
        return value


def test_wrapper_that_names_its_store_wakes_sleepers() -> None:
    memory = MemoryStore()
    resonate = Resonate(store=Naming(memory))

    @resonate.register
    def sleeper(ctx: Context) -> Flow:
        yield ctx.sleep(0.03)
        return 5

    assert resonate.store is memory
    assert resonate.run("a", sleeper) == 5
    resonate.stop()


@pytest.mark.parametrize("kind", [FourMethods, PassingOn, Fencing])
def test_handler_works_over_store_of_four_methods(kind: type[FourMethods]) -> None:
    memory = MemoryStore()
    messages: list[Any] = []
    resonate = Resonate(store=kind(memory))
    resonate.register(lambda _: 7, name="seven")
    memory.subscribe(send=lambda _, message: messages.append(message))
    call = codec.encode_call("seven", (), {}, 1)
    memory.apply(PromiseCreate("a", 2**52, call, {TARGET: "poll://any@default"}))

    assert resonate.handler()(messages[0], None) == {"status": "completed"}
    assert type(resonate.store) is kind


def test_optional_members_of_a_store_are_found_by_name() -> None:
    store = completed(Fencing(MemoryStore()))

    assert store.fences_records
    assert (store.fences_records_by("a", 1), store.fences_records_by("a", 2)) == (True, False)
    assert store.server_clock is Fencing.server_clock
    plain = completed(FourMethods(MemoryStore()))
    assert (plain.fences_records, plain.server_clock) == (False, None)


def test_encrypted_store_takes_a_store_of_four_methods() -> None:
    own = FourMethods(MemoryStore())
    assert EncryptedStore(own, NoEncryption()).underlying is own
    assert EncryptedStore(own, NoEncryption()).open().underlying is own
