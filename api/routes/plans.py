"""Plans: propose, what-if, diff; and policies: versions, approval, rejection, rollback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import JSONResponse, Response

from agent.errors import AgentError, AgentInputInvalid, ApprovalNeeded, PolicyInvalid
from agent.policy import SchedulingPolicy
from agent.store.approvals import list_approvals
from agent.store.decisions import list_decisions
from agent.store.policies import PolicyStatus, StoredPolicy, find_policy
from agent.store.policies import list_policies as stored_policies
from api.bodies import read_model
from api.context import Approver, Context, InContext, Operator, require_current
from api.errors import refuse
from api.idempotency import IdempotencyKey, once
from api.known_queries import require_known_queries
from api.outcomes import outcome_document
from api.problems import problem_responses
from api.routes.goals import require_askable
from api.routes.network import COMMON
from api.schedules import changes_between
from api.schemas import ApprovalRequest, Page, PlanRequest, RejectionRequest, RollbackRequest
from api.security import may

router = APIRouter(prefix="/v1", tags=["plans"], responses=COMMON, dependencies=[Depends(require_known_queries)])
Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[int | None, Query(ge=1, le=2**31 - 1)]
Version = Annotated[int, Path(ge=0, le=2**31 - 1)]


def _body(model: type[PlanRequest | ApprovalRequest | RejectionRequest | RollbackRequest]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}


@router.post(
    "/plans",
    responses={
        201: {"description": "Kept under its version"},
        202: {"description": "Awaits approval"},
        **problem_responses(409, 507),
    },
    openapi_extra=_body(PlanRequest),
    response_class=JSONResponse,
)
async def propose_plan(
    request: Request, ctx: InContext, caller: Operator, idempotency_key: IdempotencyKey = None
) -> Response:
    """Plan now: the policy, what the gate thinks of it and what would change; kept or submitted where asked."""
    wanted, _ = await read_model(request, PlanRequest)
    for name in ("submit", "keep"):
        if getattr(wanted, name) and wanted.goals is not None:
            raise refuse(400, f"{name}: only a plan for the live goals can be sent out", param=name)
    for goal in wanted.goals or ():
        require_askable(ctx, goal, param="goals")
    require_current(ctx)

    async def work() -> tuple[int, dict[str, Any]]:
        return await asyncio.to_thread(_plan, ctx, wanted, caller.name)

    return await once(request, ctx.operations.store, caller, idempotency_key, work)


@router.get("/policies")
async def list_policies(
    ctx: InContext,
    status: PolicyStatus | None = None,
    planner: Annotated[str | None, Query(max_length=32)] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page:
    """Policies, the newest first."""
    found = await asyncio.to_thread(
        ctx.operations.store.read,
        lambda c: stored_policies(c, status=status, planner=planner, before_version=cursor, limit=limit + 1),
    )
    items = [_summary(stored) for stored in found[:limit]]
    return Page(items=items, next=str(found[limit - 1].policy.version) if len(found) > limit else None)


@router.get("/policies/{version}")
async def read_policy(version: Version, ctx: InContext, response: Response) -> dict[str, Any]:
    """One version, what it would change now, and the decisions and approvals behind it; its ETag is the hash."""
    stored = await _stored(ctx, version)

    def evidence() -> dict[str, Any]:
        store = ctx.operations.store
        decisions = store.read(lambda c: list_decisions(c, policy_version=version))
        approvals = store.read(lambda c: list_approvals(c, policy_hash=stored.content_hash))
        return {
            "decisions": [
                {"id": found.id, "digest_hash": found.record.digest_hash, "validation": dict(found.record.validation)}
                for found in decisions
            ],
            "approvals": [
                {name: getattr(found, name) for name in ("id", "approver", "reason", "expires_us", "used_us")}
                for found in approvals
            ],
        }

    response.headers["ETag"] = f'"{stored.content_hash}"'
    document = json.loads(stored.policy.model_dump_json())
    changes = changes_between(ctx.operations.gate.desired, stored.policy.actions)
    return {**_summary(stored), "policy": document, "changes": changes, **await asyncio.to_thread(evidence)}


@router.get("/policies/{version}/status")
async def read_policy_status(version: Version, ctx: InContext) -> dict[str, Any]:
    """What became of a version, target by target."""
    stored = await _stored(ctx, version)
    cells = {action.cell for action in stored.policy.actions}
    targets = [
        {"cell": state.cell, "desired_version": state.desired_version, "reported_version": state.reported_version}
        for state in ctx.operations.states()
        if state.cell in cells
    ]
    return {"version": version, "status": stored.status.value, "targets": targets}


@router.get("/approvals")
async def list_waiting(ctx: InContext) -> list[dict[str, Any]]:
    """The policy that waits for a person, with what it would change."""
    operations = ctx.operations
    waiting = await asyncio.to_thread(operations.gate.waiting, operations.now_s)
    if waiting is None:
        return []
    found = await asyncio.to_thread(lambda: operations.gate.examine(waiting, now_s=operations.now_s))
    changes = changes_between(operations.gate.desired, waiting.actions)
    return [
        {
            "policy_version": waiting.version,
            "policy_hash": waiting.content_hash(),
            "planner": waiting.planner,
            "risk": found.risk.tier.name.lower(),
            "risk_reasons": list(found.risk.reasons),
            "checks": found.checks,
            "changes": changes,
        }
    ]


@router.post("/approvals", status_code=201, responses=problem_responses(409, 507), openapi_extra=_body(ApprovalRequest))
async def approve_policy(
    request: Request, ctx: InContext, caller: Approver, idempotency_key: IdempotencyKey = None
) -> Response:
    """Approve the version with this very hash, and dispatch it; an approval that nothing goes out on is withdrawn."""
    wanted, _ = await read_model(request, ApprovalRequest)

    async def work() -> tuple[int, dict[str, Any]]:
        return await asyncio.to_thread(_approve, ctx, wanted, caller.name)

    return await once(request, ctx.operations.store, caller, idempotency_key, work)


@router.post(
    "/policies/{version}/rejection",
    status_code=204,
    response_class=Response,
    responses=problem_responses(409, 507),
    openapi_extra=_body(RejectionRequest),
)
async def reject_policy(version: Version, request: Request, ctx: InContext, caller: Approver) -> Response:
    """Say no to a version that was kept or awaits approval."""
    wanted, _ = await read_model(request, RejectionRequest)
    await _stored(ctx, version)
    try:
        await asyncio.to_thread(lambda: ctx.operations.gate.reject(version, actor=caller.name, reason=wanted.reason))
    except PolicyInvalid as error:
        raise refuse(409, str(error)) from error
    return Response(status_code=204)


@router.post(
    "/rollback",
    responses=problem_responses(409, 507),
    openapi_extra=_body(RollbackRequest),
    response_class=JSONResponse,
)
async def roll_back(
    request: Request, ctx: InContext, caller: Operator, idempotency_key: IdempotencyKey = None
) -> Response:
    """Bring the network back to what an earlier version left; 0 is the initial state.

    `unchanged` are the cells that needed no change. While the kill switch is on, an approver's rollback is all that is
    dispatched.
    """
    wanted, _ = await read_model(request, RollbackRequest)

    async def work() -> tuple[int, dict[str, Any]]:
        try:
            outcome = await asyncio.to_thread(
                lambda: ctx.operations.rollback(
                    wanted.to_version,
                    actor=caller.name,
                    reason=wanted.reason,
                    despite_kill=may(caller, "approver"),
                )
            )
        except PolicyInvalid as error:
            raise refuse(409, str(error), param="to_version") from error
        return 200, outcome_document(outcome, ctx.operations.topology)

    return await once(request, ctx.operations.store, caller, idempotency_key, work)


def _plan(ctx: Context, wanted: PlanRequest, actor: str) -> tuple[int, dict[str, Any]]:
    operations = ctx.operations
    policy, decision = operations.propose(wanted.goals)
    found = operations.gate.examine(policy, now_s=operations.now_s)
    document: dict[str, Any] = {
        "policy": json.loads(policy.model_dump_json()),
        "policy_hash": policy.content_hash(),
        "planner": decision.planner,
        "sources": {str(decided.cell): decided.source.value for decided in decision.cells},
        "checks": found.checks,
        "risk": found.risk.tier.name.lower(),
        "risk_reasons": list(found.risk.reasons),
        "needs_approval": found.needs_approval,
        "changes": changes_between(operations.gate.desired, policy.actions),
        "outcome": None,
    }
    if wanted.keep and not wanted.submit:
        operations.keep(policy, actor=actor)
        return 201, document
    if not wanted.submit:
        return 200, document
    try:
        document["outcome"] = outcome_document(operations.submit(policy, actor=actor), operations.topology)
    except ApprovalNeeded as error:
        document["outcome"] = {"status": "awaiting_approval", "reason": str(error)}
        return 202, document
    return 200, document


def _approve(ctx: Context, wanted: ApprovalRequest, actor: str) -> tuple[int, dict[str, Any]]:
    operations = ctx.operations
    try:
        approval_id = operations.approve(
            wanted.policy_version,
            policy_hash=wanted.policy_hash,
            approver=actor,
            reason=wanted.reason,
            lifetime_s=wanted.lifetime_s,
        )
    except (PolicyInvalid, AgentInputInvalid) as error:
        raise refuse(409, str(error)) from error
    with _withdrawing(ctx, approval_id, wanted.policy_version, actor):
        outcome = operations.submit(_policy_of(ctx, wanted.policy_version), actor=actor)
    return 201, {"id": approval_id, "outcome": outcome_document(outcome, operations.topology)}


@contextmanager
def _withdrawing(ctx: Context, approval_id: str, version: int, actor: str) -> Iterator[None]:
    """All or nothing: a yes that nothing went out on is taken back, lest it serve later when nobody looks."""
    try:
        yield
    except Exception as error:
        is_ended = ctx.operations.withdraw(approval_id, version=version, actor=actor, reason=str(error))
        if is_ended and isinstance(error, AgentError):
            raise type(error)(f"{error}; the approval was withdrawn, approve again once it can go out") from error
        raise


def _policy_of(ctx: Context, version: int) -> SchedulingPolicy:
    stored = ctx.operations.store.read(lambda c: find_policy(c, version))
    if stored is None:
        raise refuse(404, f"version {version} is unknown")
    return stored.policy


async def _stored(ctx: Context, version: int) -> StoredPolicy:
    stored = await asyncio.to_thread(ctx.operations.store.read, lambda c: find_policy(c, version))
    if stored is None:
        raise refuse(404, f"version {version} is unknown")
    return stored


def _summary(stored: StoredPolicy) -> dict[str, Any]:
    policy = stored.policy
    return {
        "version": policy.version,
        "parent_version": policy.parent_version,
        "planner": policy.planner,
        "policy_hash": stored.content_hash,
        "status": stored.status.value,
        "valid_from_s": policy.valid_from_s,
        "valid_until_s": policy.valid_until_s,
        "num_actions": len(policy.actions),
        "rationale": [reason.value for reason in policy.rationale],
        "created_us": stored.created_us,
    }
