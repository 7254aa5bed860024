"""Shortcuts in moto: results that moto would compute again for each request are cached.

A test of a deployment makes thousands of requests. For each request, moto would search the methods of a class and the
URLs of a service. It would compute the size of an item after each attribute. The shortcuts do not change its responses.
"""

from __future__ import annotations

import functools
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import moto.core.responses
import moto.kms.models
from moto.core.base_backend import BaseBackend
from moto.core.utils import method_names_from_class
from moto.dynamodb.models.dynamo_type import DynamoType, LimitedSizeDict
from moto.dynamodb.models.utilities import bytesize
from moto.kms.utils import generate_private_key

from resonate_infra.testing.moto import transactions, values

SURELY_SMALL_BYTES = 400_000
"""Items of at most this many bytes are not too large, however moto counts them."""

_set = dict[str, Any].__setitem__
_add_and_count: Any = LimitedSizeDict.__setitem__


@contextmanager
def taken() -> Generator[None]:
    """Use the shortcuts while the block runs."""
    replacements: list[tuple[Any, str, Any]] = [
        (LimitedSizeDict, "__setitem__", _add),
        (BaseBackend, "urls", _once_for_each_class(BaseBackend.urls)),
        (moto.kms.models, "generate_private_key", _LaterKey),
        (moto.core.responses, "method_names_from_class", functools.cache(method_names_from_class)),
    ]
    with ExitStack() as stack:
        stack.enter_context(transactions.cheap())
        stack.enter_context(values.fast())
        for owner, name, replacement in replacements:
            stack.enter_context(patch.object(owner, name, replacement))
        yield


def _add(item: Any, name: str, value: Any) -> None:
    """Set an attribute. moto checks the item's size only if all values set so far exceed `SURELY_SMALL_BYTES`."""
    size = value.size() if type(value) is DynamoType else bytesize(str(value))
    set_so_far = item.__dict__.get("set_so_far", 0) + bytesize(name) + size
    if set_so_far <= SURELY_SMALL_BYTES:
        _set(item, name, value)
    else:
        _add_and_count(item, name, value)
    item.set_so_far = set_so_far


class _LaterKey:
    """Private key of a key of KMS, generated when it is first used. A symmetric key, as of a table, never uses it."""

    def __init__(self, key_spec: str) -> None:
        self._key_spec = key_spec

    def __getattr__(self, name: str) -> Any:
        return getattr(self._key, name)

    @functools.cached_property
    def _key(self) -> Any:
        return generate_private_key(self._key_spec)


def _once_for_each_class(urls: Any) -> property:
    """Return the property `urls` of a backend, computed once for each class."""
    known: dict[type, Any] = {}

    def remembered(backend: Any) -> Any:
        if type(backend) not in known:
            known[type(backend)] = urls.fget(backend)
        return known[type(backend)]

    return property(remembered)
