"""Supervision: switches and the audit trail."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from agent.gate.risk import Mode
from agent.gate.stops import Stops, load_stops, save_stops
from agent.store.audit_trail import read_trail, verify_trail
from agent.store.writer import Transaction
from api.bodies import read_model
from api.context import InContext, Operator
from api.errors import refuse
from api.known_queries import require_known_queries
from api.problems import problem_responses
from api.routes.network import COMMON
from api.schemas import Page, StopsBody
from api.security import may
from telemetry_sim.topology import Topology

router = APIRouter(prefix="/v1", tags=["supervision"], responses=COMMON, dependencies=[Depends(require_known_queries)])
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": StopsBody.model_json_schema()}}}}


@router.get("/stops")
async def read_stops(ctx: InContext) -> dict[str, Any]:
    """Mode, kill switch, freeze and maintenance windows."""
    return (await asyncio.to_thread(ctx.operations.gate.stops)).model_dump(mode="json")


@router.put("/stops", responses=problem_responses(507), openapi_extra=_BODY)
async def set_stops(request: Request, ctx: InContext, caller: Operator) -> dict[str, Any]:
    """Change switches. Any operator may stop; letting go needs an approver."""
    wanted, _ = await read_model(request, StopsBody)
    _require_known_cells(wanted, ctx.operations.topology)
    store = ctx.operations.store
    default = await asyncio.to_thread(ctx.operations.gate.stops)

    def change(transaction: Transaction) -> Stops:
        # Read once more: between a look and a write of its own another request may set a stop.
        before = load_stops(transaction.connection, default)
        after = _changed(before, wanted, now_unix_s=store.clock())
        if _lets_go(before, after) and not may(caller, "approver"):
            raise refuse(403, f"role approver is needed to let go of a stop, the token has {caller.role}")
        save_stops(transaction, after, actor=caller.name)
        return after

    return (await store.write_async(change)).model_dump(mode="json")


@router.get("/audit")
async def list_audit(
    ctx: InContext,
    cursor: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Page:
    """The audit trail, oldest first."""
    entries = await asyncio.to_thread(
        ctx.operations.store.read, lambda c: list(read_trail(c, after_seq=cursor, limit=limit + 1))
    )
    items = [asdict(entry) for entry in entries[:limit]]
    return Page(items=items, next=str(items[-1]["seq"]) if len(entries) > limit else None)


@router.get("/audit/verification")
async def verify_audit(
    ctx: InContext, anchor: Annotated[str | None, Query(pattern=r"^[0-9a-f]{64}$")] = None
) -> dict[str, Any]:
    """Whether the whole trail holds."""
    report = await asyncio.to_thread(ctx.operations.store.read, lambda c: verify_trail(c, anchor=anchor))
    return {
        "is_intact": report.is_intact,
        "num_entries": report.num_entries,
        "head_hash": report.head_hash,
        "faults": [asdict(fault) for fault in report.faults[:100]],
    }


def _require_known_cells(wanted: StopsBody, topology: Topology) -> None:
    known = {cell.id for cell in topology.cells}
    for index, window in enumerate(wanted.maintenance or ()):
        unknown = [cell for cell in window.cells if cell not in known]
        if unknown:
            where = f"maintenance.{index}.cells"
            raise refuse(400, f"{where}: {unknown[0]} is unknown; cells are {sorted(known)[:20]}", param=where)


def _changed(before: Stops, wanted: StopsBody, *, now_unix_s: float) -> Stops:
    changes: dict[str, Any] = wanted.model_dump(exclude_none=True, exclude={"freeze_s", "maintenance"})
    if wanted.maintenance is not None:
        changes["maintenance"] = wanted.maintenance
    if wanted.freeze_s is not None:
        changes["freeze_until_unix_s"] = now_unix_s + wanted.freeze_s if wanted.freeze_s > 0 else None
    return before.model_copy(update=changes)


def _lets_go(before: Stops, after: Stops) -> bool:
    order = (Mode.SUGGEST_ONLY, Mode.SUPERVISED, Mode.AUTONOMOUS)
    frees = order.index(after.mode) > order.index(before.mode)
    unkills = before.is_killed and not after.is_killed
    thaws = (before.freeze_until_unix_s or 0) > (after.freeze_until_unix_s or 0)
    return frees or unkills or thaws or not set(before.maintenance) <= set(after.maintenance)
