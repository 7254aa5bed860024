"""Descriptions of functions in the answer of a Lambda handler to a `describe` event."""

from __future__ import annotations

from typing import Any

from resonate_infra.json_types import is_list, is_object


def functions_in(answer: Any) -> list[dict[str, Any]] | None:
    """Return the descriptions of functions in the answer to a `describe` event, or None if it is another answer."""
    found = answer.get("functions") if is_object(answer) else None
    return [each for each in found if is_object(each)] if is_list(found) else None
