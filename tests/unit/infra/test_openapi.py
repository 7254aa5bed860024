"""Responses of the development server to requests that docs/openapi.json generates."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from hypothesis import given, settings

from resonate_infra.server.assembly import Server, ServerOptions
from tests.support.hypothesis_settings import ANY_HEALTH, examples

DOCUMENT = json.loads((Path(__file__).parents[3] / "docs" / "openapi.json").read_text(encoding="utf-8"))


def test_openapi_document_describes_each_response() -> None:
    # Slow to import, so only the process of this test does.
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.core.result import Ok
    from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

    checks = [not_a_server_error, status_code_conformance, response_schema_conformance]
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    seen: Counter[int] = Counter()
    with Server(ServerOptions(port=0)).running() as server:
        for result in schema.get_all_operations():
            assert isinstance(result, Ok)
            operation = result.ok()

            @settings(max_examples=examples(8, in_ci=60), deadline=None, suppress_health_check=ANY_HEALTH)
            @given(operation.as_strategy())
            def holds(case: schemathesis.Case) -> None:
                response = case.call(base_url=f"http://localhost:{server.port}")
                case.validate_response(response, checks=checks)
                seen[response.status_code] += 1

            holds()
    assert seen.keys() >= {200, 400, 404}, seen
