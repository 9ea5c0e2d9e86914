"""The network as the agent sees it: topology, digests, KPIs, schedules, targets, live events."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response, StreamingResponse

from agent.store.goals import StoredGoal
from api.bodies import JsonResponse
from api.context import Context, InContext
from api.errors import refuse
from api.guarantees import RateSeen, guaranteed_kbps, rate_scope, rate_seen
from api.known_queries import require_known_queries
from api.problems import problem_responses
from api.schedules import schedule_of
from api.schemas import KpiRow
from api.slice_sla import POLICY_TYPE_ID
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.topology import CellSite

COMMON = problem_responses(400, 401, 403, 404, 408, 413, 415, 429, 503)
router = APIRouter(prefix="/v1", tags=["network"], responses=COMMON, dependencies=[Depends(require_known_queries)])
CellId = Annotated[int, Path(ge=0, le=0xFFFF)]
_KEEP_ALIVE_S = 15.0
_UNITS = {
    "end_s": "s",
    "demand_kbps": "kbit/s",
    "served_kbps": "kbit/s",
    "delay_p95_ms": "ms",
    "RRU.PrbUsedDl": "PRB",
    "guaranteed_kbps": "kbit/s",
}
_AGED: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            "Digest-Age": {
                "description": "Wall-clock seconds since an edge last told of a new interval",
                "schema": {"type": "integer", "minimum": 0},
            }
        }
    }
}


@router.get("/topology")
async def read_topology(ctx: InContext) -> Response:
    """Cells, slices and neighbours."""
    return JsonResponse(ctx.operations.topology.model_dump_json())


@router.get("/digests", responses=_AGED)
async def list_digests(ctx: InContext) -> Response:
    """The latest interval's digests, one per cell; `Digest-Age` tells of how long ago they are."""
    rows = ",".join(digest.model_dump_json() for digest in ctx.operations.digests)
    return JsonResponse(f"[{rows}]", headers=_age(ctx))


@router.get("/digests/{cell}", responses=_AGED)
async def read_digest(cell: CellId, ctx: InContext) -> Response:
    """One cell's latest digest; `Digest-Age` tells of how long ago it is."""
    found = next((digest for digest in ctx.operations.digests if digest.cell == cell), None)
    if found is None:
        raise refuse(404, f"no digest of cell {cell}")
    return JsonResponse(found.model_dump_json(), headers=_age(ctx))


@router.get("/kpis", responses=_AGED)
async def list_kpis(ctx: InContext, response: Response) -> list[KpiRow]:
    """Figures of the latest interval, per cell and slice, and what A1 policies ask of them.

    A name of TS 28.552 is used only where the figure is what the standard defines under it. While no edge speaks the
    last figures stay, `is_stale`; `Digest-Age` tells of how long ago they are.
    """
    digests, is_stale = ctx.operations.digests, _is_stale(ctx)
    response.headers.update(_age(ctx))
    guarantees = _guarantees(ctx.operations.goals.of_type(POLICY_TYPE_ID), digests)
    return [
        _kpis_of(digest, row, guarantees.get((index, row), []), is_stale=is_stale)
        for index, digest in enumerate(digests)
        for row in range(len(digest.slices))
    ]


@router.get("/schedules")
async def list_schedules(ctx: InContext) -> list[dict[str, Any]]:
    """What is in force, rendered as RRMPolicyRatio."""
    operations = ctx.operations
    return [schedule_of(cell, operations.gate.desired, operations.topology) for cell in operations.topology.cells]


@router.get("/schedules/{cell}")
async def read_schedule(cell: CellId, ctx: InContext) -> dict[str, Any]:
    """One cell's schedule."""
    operations = ctx.operations
    return schedule_of(_site(ctx, cell), operations.gate.desired, operations.topology)


@router.get("/targets")
async def list_targets(ctx: InContext) -> list[dict[str, Any]]:
    """Desired and reported version of every target."""
    return [
        {
            "cell": state.cell,
            "desired_version": state.desired_version,
            "reported_version": state.reported_version,
            "is_online": state.is_online,
            "is_settled": state.is_settled,
            "reason": state.reason,
        }
        for state in ctx.operations.states()
    ]


@router.get("/models")
async def list_models(ctx: InContext) -> list[dict[str, Any]]:
    """Who decides."""
    return [{"planner": ctx.operations.planner_name, "interval_s": ctx.operations.interval_s}]


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={200: {"description": "Server-sent events", "content": {"text/event-stream": {}}}},
)
async def stream_events(ctx: InContext, max_events: Annotated[int, Query(ge=0, le=1_000_000)] = 0) -> StreamingResponse:
    """Live state, dispatches, approvals and goal status; ends after `max_events` where that is not 0."""
    return StreamingResponse(
        _events(ctx, max_events), media_type="text/event-stream", headers={"cache-control": "no-store"}
    )


async def _events(ctx: Context, max_events: int) -> AsyncIterator[str]:
    yield f"event: state\ndata: {json.dumps(ctx.operations.live_state())}\n\n"
    num_sent = 1
    with ctx.operations.events.listening() as queue:
        while num_sent != max_events:
            try:
                event = await asyncio.wait_for(queue.get(), _KEEP_ALIVE_S)
            except TimeoutError:
                yield ": still here\n\n"
                continue
            yield f"event: {event.kind}\ndata: {json.dumps(event.document)}\n\n"
            num_sent += 1


def _site(ctx: Context, cell: int) -> CellSite:
    found = next((site for site in ctx.operations.topology.cells if site.id == cell), None)
    if found is None:
        raise refuse(404, f"cell {cell} is unknown")
    return found


def _age(ctx: Context) -> dict[str, str]:
    return {"Digest-Age": str(int(ctx.metrics.digest_age_s()))}


def _is_stale(ctx: Context) -> bool:
    """Whether the latest digests are not of now, by the limit after which the server is not ready."""
    return bool(ctx.operations.silence) or ctx.metrics.digest_age_s() > ctx.settings.stale_after_s


def _kpis_of(digest: EdgeDigest, row: int, asked: list[RateSeen], *, is_stale: bool) -> KpiRow:
    """Of one slice in one cell; a guarantee is judged over all cells in its scope."""
    seen = digest.slices[row]
    guarantees = [each for each in asked if each.is_carried]
    return KpiRow.model_validate(
        {
            "cell": digest.cell,
            "slice": str(seen.slice),
            "end_s": digest.end_s,
            "is_stale": is_stale,
            "num_devices": seen.num_devices,
            "demand_kbps": seen.demand_kbps,
            "served_kbps": seen.served_kbps,
            "in_time_ratio": seen.in_time_ratio,
            "delay_p95_ms": seen.delay_p95_ms if seen.is_delay_measured else None,
            "RRU.PrbUsedDl": seen.prb_used,
            "guaranteed_kbps": max((each.rate_kbps for each in guarantees), default=None),
            "is_fulfilled": all(each.is_served for each in guarantees) if guarantees else None,
            "units": _UNITS,
        }
    )


def _guarantees(policies: Sequence[StoredGoal], digests: Sequence[EdgeDigest]) -> dict[tuple[int, int], list[RateSeen]]:
    """What the rates that are asked for came to, by each digest and row in their scope."""
    found: dict[tuple[int, int], list[RateSeen]] = defaultdict(list)
    for stored in policies:
        rate_kbps = guaranteed_kbps(stored)
        if stored.goal is None or rate_kbps is None:
            continue
        scope = rate_scope(stored.goal, digests)
        seen = rate_seen(rate_kbps, scope, digests)
        for place in scope:
            found[place].append(seen)
    return found
