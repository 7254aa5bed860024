"""Choice of a program's store and message source: its arguments decide, else its environment.

The same program runs in memory, against a server and on DynamoDB. Modules that only one of them needs are imported for
that one.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from resonate.errors.mistakes import ArgumentTypeError, ArgumentValueError
from resonate.message_sources.source import Messages
from resonate.workflow.registry import Registry
from resonate_store.interface import Store
from resonate_store.model.clock import Clock

if TYPE_CHECKING:
    from resonate.stores.remote import RemoteStore
    from resonate_store.dynamo.store import DynamoStore
    from resonate_store.local.memory import MemoryStore


def store_of_environment(clock: Clock) -> Store:
    """Return the store of a program that names none; see `Resonate`.

    Raises:
        SettingsError, ValueError: a variable is malformed.
    """
    table = os.environ.get("RESONATE_TABLE")
    if not table:
        return _remote_store(clock) if os.environ.get("RESONATE_URL") else memory_store(clock)
    return _store_of_function(table, clock) if "AWS_LAMBDA_RUNTIME_API" in os.environ else _dynamo_store(table, clock)


def memory_store(clock: Clock) -> MemoryStore:
    """Return a new store in memory."""
    from resonate_store.local.memory import MemoryStore

    return MemoryStore(clock)


def _remote_store(clock: Clock) -> RemoteStore:
    from resonate.stores.remote import RemoteStore

    return RemoteStore(clock=clock)


def messages_of(store: Store, group: str, pid: str, registry: Registry) -> Messages | None:
    """Return the message source of a store's server; None for other stores, and if the server pushes messages."""
    distant = store.distant
    if distant is None or distant.server.scope is not None:
        return None
    from resonate.message_sources.poller import Poller

    return Poller(group, pid, server=distant.server, works=lambda: bool(registry.names()))


def _dynamo_store(table: str, clock: Clock) -> DynamoStore:
    from resonate_store.extras import extra
    from resonate_store.settings import groups_of

    with extra("aws", f"the table {table!r} of RESONATE_TABLE"):
        from resonate_store.aws.clients import require_libraries
        from resonate_store.delivery.environment import delivery_of
        from resonate_store.dynamo.large_values import Payloads
        from resonate_store.dynamo.store import DynamoStore

        require_libraries()
    payloads = Payloads.of(os.environ, table)
    delivery = delivery_of(os.environ, clock)
    return DynamoStore(table, clock=clock, groups=groups_of(os.environ), payloads=payloads, delivery=delivery)


def _store_of_function(table: str, clock: Clock) -> DynamoStore:
    """Return the store of a Lambda function, connected: initialisation has more processor time than an invocation.

    Loading the AWS client makes many objects and no garbage, so the collector is off meanwhile. The objects live as
    long as the process, so they are frozen, and later collections do not visit them.
    """
    import gc

    # At every cold start this logger writes a line at level INFO without information.
    logging.getLogger("botocore.credentials").setLevel(logging.WARNING)
    collecting = gc.isenabled()
    gc.disable()
    try:
        store = _dynamo_store(table, clock)
        store.connect()
    finally:
        if collecting:
            gc.enable()
    gc.freeze()
    return store


def encrypted(store: Store, encryptor: Any) -> Store:
    """Return a store around `store` that encrypts payloads.

    Raises:
        TypeError: `encryptor` is not an `Encryptor`.
    """
    from resonate.encryption import EncryptedStore, Encryptor

    if isinstance(encryptor, type) or not isinstance(encryptor, Encryptor):
        raise ArgumentTypeError(f"encryptor must be an `Encryptor`, got {encryptor!r}")
    return EncryptedStore(store, encryptor)


def check_stores(store: Any, source: Any) -> bool:
    """Return whether messages come from the source of a `LocalStore`.

    Raises:
        TypeError, ValueError: the store or the source is not one, or they do not fit together.
    """
    if store is not None and not (callable(getattr(store, "apply", None)) and hasattr(store, "children")):
        raise ArgumentTypeError(f"store must be a `Store`, got {type(store).__name__}")
    local_store = _loaded("resonate.stores.local", "LocalStore", store)
    local_source = _loaded("resonate.message_sources.local", "LocalMessageSource", source)
    if source is not None:
        from resonate.message_sources import MessageSource

        if not isinstance(source, Messages | MessageSource):
            raise ArgumentTypeError(f"message_source must be a `MessageSource`, got {type(source).__name__}")
        if store is None:
            raise ArgumentValueError("message_source needs the store whose messages it has: give both or neither")
    if local_store and not local_source:
        raise ArgumentTypeError(
            "message_source must be a `LocalMessageSource` when store is a `LocalStore`:"
            " message_source=store.message_source(group, id)"
        )
    if local_source and not local_store:
        raise ArgumentTypeError(
            f"message_source must not be a `LocalMessageSource` when store is {type(store).__name__}"
        )
    return local_source


def _loaded(module: str, name: str, value: Any) -> bool:
    """Return whether `value` is an instance of the class `name` of `module`, without importing the module.

    If it is, the module is already imported.
    """
    known = sys.modules.get(module)
    return known is not None and isinstance(value, getattr(known, name))
