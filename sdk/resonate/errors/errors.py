"""Import path of SDK 0.6.7."""

from resonate.errors import (
    ResonateCanceledError,
    ResonateError,
    ResonateShutdownError,
    ResonateStoreError,
    ResonateTimedoutError,
)

__all__ = [
    "ResonateCanceledError",
    "ResonateError",
    "ResonateShutdownError",
    "ResonateStoreError",
    "ResonateTimedoutError",
]
