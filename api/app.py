"""The application: guard, routes and problem documents put together."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from agent.errors import AgentError
from api.context import Context
from api.conversations import Conversations
from api.errors import RequestRefused, as_problem
from api.guard import Guard
from api.notifications import Notifier
from api.operations import Operations
from api.problems import MEDIA_TYPE, Problem, count_faults
from api.routes import a1, chat, goals, health, network, plans, submissions, supervision
from api.security import Doorkeeper
from api.settings import ApiSettings

LOG = logging.getLogger("edgewright.api")


def create_app(
    operations: Operations, settings: ApiSettings | None = None, *, conversations: Conversations | None = None
) -> FastAPI:
    """The REST face of a running control loop; starting and stopping the loop is the caller's business."""
    settings = settings or ApiSettings()
    metrics = operations.metrics
    notifier = Notifier(settings, metrics)
    operations.on_status = notifier.notify
    conversations = conversations or Conversations(operations, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        await notifier.start()
        yield
        await notifier.stop()
        conversations.close()

    app = FastAPI(
        title="Edgewright",
        version="2.0",
        summary="A1-P v2 for goals, /v1 for operators",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
    )
    app.state.context = Context(
        operations=operations,
        settings=settings,
        metrics=metrics,
        conversations=conversations,
    )
    if settings.simulator_mode:
        from api.routes.simulator import build_simulator

        app.router.routes.extend(build_simulator().routes)
    for module in (a1, network, goals, plans, submissions, supervision, chat, health):
        # Routes are added flat: matching through nested routers costs more than serving a policy.
        app.router.routes.extend(module.router.routes)
    _handle_errors(app)
    app.openapi = _without_422(app)  # type: ignore[method-assign]  # the framework's own way to change the document
    app.add_middleware(
        Guard,
        settings=settings,
        doorkeeper=Doorkeeper(operations.store, tokens_are_needed=settings.tokens_are_needed),
        metrics=metrics,
        is_known_policy=lambda path: _is_known(operations, path),
    )
    return app


def _is_known(operations: Operations, path: str) -> bool:
    ids = a1.is_policy_path(path)
    return ids is not None and operations.goals.find(*ids) is not None


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestRefused)
    async def _refused(request: Request, error: RequestRefused) -> Response:
        return _answer(request, as_problem(error))

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        faults = tuple(
            (".".join(map(str, fault["loc"][1:])) or "body", str(fault["msg"])[:300]) for fault in error.errors()[:20]
        )
        problem = Problem(status=400, detail=count_faults(len(error.errors()), "request"), invalid_params=faults)
        return _answer(request, problem)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        response = _answer(request, Problem(status=error.status_code, detail=str(error.detail)))
        for name, value in (error.headers or {}).items():
            response.headers[name] = value
        if error.status_code == 405:
            response.headers["allow"] = ", ".join(_allowed_methods(request))
        return response

    @app.exception_handler(AgentError)
    async def _agent(request: Request, error: AgentError) -> Response:
        return _answer(request, as_problem(error))

    @app.exception_handler(Exception)
    async def _defect(request: Request, error: Exception) -> Response:
        LOG.error("a request failed", exc_info=error)
        return _answer(request, Problem(status=500, detail="the server failed to serve the request"))


def _allowed_methods(request: Request) -> list[str]:
    """All methods of the path; the framework names those of the first route only."""
    methods = {
        method
        for route in request.app.router.routes
        if isinstance(route, APIRoute) and route.path_regex.match(request.url.path)
        for method in route.methods or ()
    }
    return sorted(methods)


def _answer(request: Request, problem: Problem) -> Response:
    document = problem.document() | {"instance": request.url.path}
    return Response(json.dumps(document), status_code=problem.status, media_type=MEDIA_TYPE)


def _without_422(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """The OpenAPI document without the framework's own error bodies, which never show."""
    generate = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = generate()
            for item in made["paths"].values():
                for operation in item.values():
                    operation["responses"].pop("422", None)
            for name in ("HTTPValidationError", "ValidationError"):
                made.get("components", {}).get("schemas", {}).pop(name, None)
            app.openapi_schema = made
        return app.openapi_schema

    return document
