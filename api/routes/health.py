"""Is it alive, is it ready, how does it do."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from api.context import Context, InContext
from api.problems import problem_responses

router = APIRouter(tags=["health"])


@router.get("/healthz", responses=problem_responses(400))
async def health() -> dict[str, str]:
    """The process serves."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    responses={200: {"description": "Ready"}, 503: {"description": "Not ready"}, **problem_responses(400)},
)
async def readiness(ctx: InContext) -> Response:
    """Digests come in and the loop turns; `is_killed` where nothing is dispatched all the same."""
    operations, trouble = ctx.operations, _trouble(ctx)
    stops = operations.gate.stops()
    document = {
        "ready": not trouble,
        "loop": trouble or "turning",
        "planner": operations.planner_name,
        "policy_version": operations.gate.desired.version,
        "mode": stops.mode.value,
        "is_killed": stops.is_killed,
    }
    return JSONResponse(document, status_code=200 if document["ready"] else 503)


def _trouble(ctx: Context) -> str:
    """Why nobody should rely on the loop now; empty where all is well."""
    operations, most_s = ctx.operations, ctx.settings.stale_after_s
    turn_age_s = operations.store.clock() - operations.last_turn_unix_s
    digest_age_s = ctx.metrics.digest_age_s()
    if operations.failure or not operations.digests:
        return operations.failure or "waiting for the first interval"
    if turn_age_s > most_s:
        return f"the latest turn is {turn_age_s:.0f} s old, at most {most_s:g} s is normal"
    if digest_age_s > most_s:
        return f"the latest digest is {digest_age_s:.0f} s old, at most {most_s:g} s is normal"
    return ""


@router.get("/metrics", responses={200: {"content": {"text/plain": {}}}, **problem_responses(400)})
async def metrics(ctx: InContext) -> Response:
    """Prometheus text format."""
    return Response(ctx.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")
