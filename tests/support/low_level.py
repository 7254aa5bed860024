"""What tests of the low-level store of SDK 0.6.7 share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from resonate.encoders import JsonEncoder, NoopEncoder, PairEncoder
from resonate.errors import ResonateStoreError

SOON = 60_000
TTL = 5_000
INVOKE = {"resonate:invoke": "workers"}
JSON = PairEncoder(NoopEncoder(), JsonEncoder())


def refused(call: Callable[..., Any], *arguments: Any, match: str | None = None, **keywords: Any) -> int:
    """Return the code with which a call is refused, without its first three digits."""
    with pytest.raises(ResonateStoreError, match=match) as caught:
        call(*arguments, **keywords)
    return int(str(caught.value).split("]")[0].partition(".")[2])
