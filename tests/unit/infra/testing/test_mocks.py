"""Targets of mocks. tests/deployment/test_vocabulary.py calls mocked functions."""

from __future__ import annotations

from typing import Any

import pytest

from resonate_infra.testing.mocks import Mocks


def test_mock_without_valid_target_is_refused() -> None:
    unused: Any = None
    mocks = Mocks(unused, unused, unused)
    with pytest.raises(ValueError, match="name the target of ship"):
        mocks.add("ship", print, None, 1)
    with pytest.raises(ValueError, match="neither"):
        mocks.add("ship", print, "https://example.com", 1)
