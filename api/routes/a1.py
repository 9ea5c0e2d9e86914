"""A1-P v2: policies as an O-RAN non-real-time RIC sends them. Source: O-RAN.WG2.A1AP v3."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from agent.store.goals import StoredGoal
from api.bodies import JsonResponse, read_model
from api.context import Context, InContext, Operator, context_of, require_role
from api.errors import refuse
from api.goal_book import NOT_ENFORCED, OTHER_REASON
from api.notifications import check_destination, status_document
from api.problems import problem_responses
from api.slice_sla import POLICY_TYPE_ID, NotApplicable, SliceSlaTarget, policy_type_document, to_goal

BASE = "/A1-P/v2"
router = APIRouter(prefix=BASE, tags=["A1-P"])

_ID = r"^[A-Za-z0-9._~:@+,=-]{1,128}$"
TypeId = Annotated[str, Path(pattern=_ID)]
PolicyId = Annotated[str, Path(pattern=_ID)]
Destination = Annotated[str, Query(alias="notificationDestination", max_length=2000)]
_COMMON = problem_responses(400, 401, 403, 404, 408, 413, 415, 429, 503)
_JSON_OBJECT = {"application/json": {"schema": {"type": "object"}}}
_STATUS = {"application/json": {"schema": policy_type_document()["statusSchema"]}}


@router.get(
    "/policytypes/{policyTypeId}/policies/{policyId}",
    responses={200: {"description": "The policy as it was put", "content": _JSON_OBJECT}, **_COMMON},
)
async def read_policy(policyTypeId: TypeId, policyId: PolicyId, request: Request) -> Response:
    """The policy as it was put."""
    return JsonResponse(_known(context_of(request), policyTypeId, policyId).document)


@router.get("/policytypes", responses=_COMMON)
async def list_policy_types() -> list[str]:
    """Ids of the policy types."""
    return [POLICY_TYPE_ID]


@router.get(
    "/policytypes/{policyTypeId}",
    responses={200: {"description": "Schemas of policy and status", "content": _JSON_OBJECT}, **_COMMON},
)
async def read_policy_type(policyTypeId: TypeId) -> Response:
    """Schemas of a policy type and of its status."""
    _require_type(policyTypeId)
    return JsonResponse(json.dumps(policy_type_document()))


@router.get("/policytypes/{policyTypeId}/policies", responses=_COMMON)
async def list_policies(policyTypeId: TypeId, ctx: InContext) -> list[str]:
    """Ids of the policies of a type."""
    _require_type(policyTypeId)
    return [stored.id for stored in ctx.operations.goals.of_type(policyTypeId)]


@router.put(
    "/policytypes/{policyTypeId}/policies/{policyId}",
    responses={
        200: {"description": "Updated", "content": _JSON_OBJECT},
        201: {
            "description": "Created",
            "content": _JSON_OBJECT,
            "headers": {"Location": {"schema": {"type": "string"}}},
        },
        **_COMMON,
        **problem_responses(409, 507),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": policy_type_document()["policySchema"]}},
        }
    },
)
async def put_policy(
    policyTypeId: TypeId,
    policyId: PolicyId,
    request: Request,
    notification_destination: Destination = "",
) -> Response:
    """Create or update a policy; the same request again changes nothing."""
    ctx, caller = context_of(request), require_role(request, "operator")
    _require_type(policyTypeId)
    target, document = await read_model(request, SliceSlaTarget)
    check_destination(notification_destination, ctx.settings)
    _require_room(ctx, policyTypeId, policyId)
    meaning = to_goal(policyId, target, ctx.operations.topology)
    wanted = StoredGoal(
        policy_type=policyTypeId,
        id=policyId,
        document=json.dumps(document),
        goal=None if isinstance(meaning, NotApplicable) else meaning,
        notification_destination=notification_destination,
        status=NOT_ENFORCED,
        reason=meaning.reason.value if isinstance(meaning, NotApplicable) else OTHER_REASON,
    )
    kept, is_new = await ctx.operations.goals.put(wanted, actor=caller.name)
    if not is_new:
        return JsonResponse(kept.document)
    return JsonResponse(kept.document, status_code=201, headers={"Location": policy_path(policyTypeId, policyId)})


@router.delete(
    "/policytypes/{policyTypeId}/policies/{policyId}",
    status_code=204,
    response_class=Response,
    responses=_COMMON,
)
async def delete_policy(policyTypeId: TypeId, policyId: PolicyId, ctx: InContext, caller: Operator) -> Response:
    """Withdraw a policy; the next plan no longer heeds it."""
    _known(ctx, policyTypeId, policyId)
    if not await ctx.operations.goals.delete(policyTypeId, policyId, actor=caller.name):
        raise refuse(404, f"policy {policyId!r} is unknown")
    return Response(status_code=204)


@router.get(
    "/policytypes/{policyTypeId}/policies/{policyId}/status",
    responses={200: {"description": "Whether the policy is enforced", "content": _STATUS}, **_COMMON},
)
async def read_policy_status(policyTypeId: TypeId, policyId: PolicyId, request: Request) -> Response:
    """ENFORCED once all targets have applied a schedule that heeds the policy."""
    stored = _known(context_of(request), policyTypeId, policyId)
    return JsonResponse(json.dumps(status_document(stored.status, stored.reason)))


def policy_path(policy_type_id: str, policy_id: str) -> str:
    """Where a policy is found."""
    return f"{BASE}/policytypes/{policy_type_id}/policies/{policy_id}"


def is_policy_path(path: str) -> tuple[str, str] | None:
    """Type and id where the path is a policy's own."""
    parts = path.split("/")
    if len(parts) == 7 and path.startswith(f"{BASE}/policytypes/") and parts[5] == "policies":
        return parts[4], parts[6]
    return None


def _require_type(policy_type_id: str) -> None:
    if policy_type_id != POLICY_TYPE_ID:
        raise refuse(404, f"policy type {policy_type_id!r} is unknown; types are {POLICY_TYPE_ID}")


def _known(ctx: Context, policy_type_id: str, policy_id: str) -> StoredGoal:
    _require_type(policy_type_id)
    stored = ctx.operations.goals.find(policy_type_id, policy_id)
    if stored is None:
        raise refuse(404, f"policy {policy_id!r} is unknown")
    return stored


def _require_room(ctx: Context, policy_type_id: str, policy_id: str) -> None:
    goals = ctx.operations.goals
    if goals.find(policy_type_id, policy_id) is None and len(goals) >= ctx.settings.max_goals:
        raise refuse(507, f"{ctx.settings.max_goals} goals are kept already; delete some first")
