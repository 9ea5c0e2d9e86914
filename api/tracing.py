"""OpenTelemetry traces of requests, plans, the gate and dispatches; an extra, off unless an endpoint is named."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from agent.tracing import span
from api.errors import ServerMisconfigured

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from agent.tracing import Tracer

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Message, Receive, Send], Awaitable[None]]

_EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


def open_tracer(endpoint: str) -> tuple[Tracer, Callable[[], None]]:
    """A tracer that sends to an OTLP/HTTP endpoint, and what sends the rest at the end; raises ServerMisconfigured."""
    try:
        sdk = importlib.import_module("opentelemetry.sdk.trace")
        export = importlib.import_module("opentelemetry.sdk.trace.export")
        resources = importlib.import_module("opentelemetry.sdk.resources")
        otlp = importlib.import_module(_EXPORTER)
    except ImportError as error:
        raise ServerMisconfigured(
            f"traces to {endpoint!r}: {error.name} is not installed; "
            "`.venv/bin/pip install '.[otel]'` in Edgewright's folder brings it"
        ) from error
    provider = sdk.TracerProvider(resource=resources.Resource.create({"service.name": "edgewright"}))
    provider.add_span_processor(export.BatchSpanProcessor(otlp.OTLPSpanExporter(endpoint=endpoint)))
    tracer: Tracer = provider.get_tracer("edgewright")
    return tracer, provider.shutdown


class TracedRequests:
    """An application, each of its HTTP requests a span."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with span("request") as open_span:

            async def note_status(message: Message) -> None:
                if open_span is not None and message["type"] == "http.response.start":
                    open_span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            await self._app(scope, receive, note_status)
            if open_span is not None:
                open_span.set_attribute("http.request.method", scope["method"])
                # The route's pattern: ids in a path are callers' words.
                open_span.set_attribute("http.route", getattr(scope.get("route"), "path", "unmatched"))
