"""Both APIs hold to the document that they publish: generated requests, no 500s, no undocumented answers."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.python import asgi
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import create_app
from api.settings import ApiSettings
from tests.api_stage import SettableClock, build_stage

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def build_app():
    stage = build_stage("sqlite://", SettableClock())
    stage.operations.turn()
    settings = ApiSettings(
        requests_per_s=1e9, burst=10**9, local_hosts=frozenset({asgi.HOST}), stale_after_s=float("inf")
    )
    return create_app(stage.operations, settings)


# Tests are made from the document while they are collected. The stream of events has no end of its own; its own test
# reads it.
schema = schemathesis.openapi.from_asgi("/openapi.json", build_app()).exclude(path="/v1/events")
REQUESTS = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True}


@schema.parametrize()
@settings(max_examples=8, **REQUESTS)
def test_generated_requests_get_documented_answers(case):
    case.call_and_validate(checks=CHECKS)


@pytest.mark.slow
@schema.parametrize()
@settings(max_examples=400, **REQUESTS)
def test_ten_thousand_generated_requests_get_documented_answers(case):
    case.call_and_validate(checks=CHECKS)
