"""Is it alive, is it ready, how does it do."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from api.context import InContext
from api.problems import problem_responses

router = APIRouter(tags=["health"])
_STALE_INTERVALS = 5


@router.get("/healthz", responses=problem_responses(400))
async def health() -> dict[str, str]:
    """The process serves."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    responses={200: {"description": "Ready"}, 503: {"description": "Not ready"}, **problem_responses(400)},
)
async def readiness(ctx: InContext) -> Response:
    """Digests have come in and the loop turns."""
    operations = ctx.operations
    document = {
        "ready": bool(operations.digests) and not operations.failure,
        "loop": operations.failure or ("turning" if operations.digests else "waiting for the first interval"),
        "planner": operations.planner_name,
        "policy_version": operations.gate.desired.version,
        "mode": operations.gate.stops().mode.value,
    }
    return JSONResponse(document, status_code=200 if document["ready"] else 503)


@router.get("/metrics", responses={200: {"content": {"text/plain": {}}}, **problem_responses(400)})
async def metrics(ctx: InContext) -> Response:
    """Prometheus text format."""
    return Response(ctx.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")
