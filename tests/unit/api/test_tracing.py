"""Spans of requests, plans, the gate and dispatches; none where nobody collects."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import httpx
import pytest

from agent.control_loop import ControlLoop
from agent.dispatch.in_process import InProcessDispatcher
from agent.gate.gate import Gate
from agent.gate.gated_dispatcher import GatedDispatcher
from agent.planner import optimiser_planner
from agent.store.store import Store
from agent.tracing import TracedPlanner, collect_spans, span
from api.app import create_app
from api.errors import ServerMisconfigured
from api.operations import Operations
from api.tracing import TracedRequests, open_tracer
from edge_preprocess.pipeline import EdgePipeline
from tests.api_stage import DEFAULT_GATE, TOPOLOGY, ObedientNetwork, QuietSource


@pytest.fixture
def finished() -> Iterator[object]:
    """What OpenTelemetry's own in-memory exporter holds."""
    reason = "the extra otel is not installed"
    sdk = pytest.importorskip("opentelemetry.sdk.trace", reason=reason)
    export = pytest.importorskip("opentelemetry.sdk.trace.export", reason=reason)
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter", reason=reason)
    exporter = memory.InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    collect_spans(provider.get_tracer("test"))
    yield exporter
    collect_spans(None)
    provider.shutdown()


@pytest.fixture
def operations(tmp_path) -> Iterator[Operations]:
    with Store.open(f"sqlite:///{tmp_path}/store.db") as store:
        inner = InProcessDispatcher(ObedientNetwork(), TOPOLOGY)
        gate = Gate(store=store, dispatcher=inner, topology=TOPOLOGY, settings=DEFAULT_GATE)
        loop = ControlLoop(
            source=QuietSource(),
            pipeline=EdgePipeline(TOPOLOGY),
            planner=TracedPlanner(optimiser_planner()),
            dispatcher=GatedDispatcher(gate, inner),
        )
        yield Operations(loop=loop, gate=gate, dispatcher=GatedDispatcher(gate, inner), store=store)


async def _submit(operations: Operations) -> httpx.Response:
    """A plan that is made and submitted over REST."""
    operations.turn()
    transport = httpx.ASGITransport(app=TracedRequests(create_app(operations)))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.post("/v1/plans", json={"submit": True})


async def test_a_request_leads_to_spans_of_plan_gate_and_dispatch(operations, finished):
    answer = await _submit(operations)
    assert answer.status_code < 300
    spans = finished.get_finished_spans()
    request = next(found for found in spans if found.name == "request")
    assert dict(request.attributes) == {
        "http.request.method": "POST",
        "http.route": "/v1/plans",
        "http.response.status_code": answer.status_code,
    }
    under = {found.name: found for found in spans if found.context.trace_id == request.context.trace_id}
    assert set(under) == {"request", "plan", "gate", "dispatch"}
    assert under["plan"].parent.span_id == under["gate"].parent.span_id == request.context.span_id
    assert under["dispatch"].parent.span_id == under["gate"].context.span_id
    assert under["plan"].attributes["edgewright.planner"] == "optimiser"


async def test_without_a_collector_the_answer_is_the_same(operations):
    assert (await _submit(operations)).status_code < 300
    with span("anything") as nothing:
        assert nothing is None


def test_a_missing_extra_is_said_when_traces_are_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ServerMisconfigured, match=r"pip install '\.\[otel\]'"):
        open_tracer("http://127.0.0.1:4318/v1/traces")
