"""A kept plan on its way out: submitted by its version and hash, through the gate."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Request
from starlette.responses import JSONResponse, Response

from agent.errors import ApprovalNeeded, PolicyInvalid
from agent.store.policies import find_policy
from api.bodies import read_model
from api.context import Context, InContext, Operator
from api.errors import refuse
from api.idempotency import IdempotencyKey, once
from api.known_queries import require_known_queries
from api.outcomes import outcome_document
from api.preconditions import matches
from api.problems import problem_responses
from api.routes.network import COMMON
from api.schemas import SubmissionRequest

router = APIRouter(
    prefix="/v1/policies", tags=["plans"], responses=COMMON, dependencies=[Depends(require_known_queries)]
)
Version = Annotated[int, Path(ge=0, le=2**31 - 1)]
IfMatch = Annotated[str | None, Header(max_length=100)]
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": SubmissionRequest.model_json_schema()}},
    }
}


@router.post(
    "/{version}/submission",
    responses={202: {"description": "Awaits approval"}, **problem_responses(409, 412, 507)},
    openapi_extra=_BODY,
    response_class=JSONResponse,
)
async def submit_policy(
    version: Version,
    request: Request,
    ctx: InContext,
    caller: Operator,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Send the kept plan with this very hash through the gate; 202 where an approver has to say yes first."""
    wanted, _ = await read_model(request, SubmissionRequest)

    async def work() -> tuple[int, dict[str, Any]]:
        return await asyncio.to_thread(_submit, ctx, version, wanted, if_match, caller.name)

    return await once(request, ctx.operations.store, caller, idempotency_key, work)


def _submit(
    ctx: Context, version: int, wanted: SubmissionRequest, if_match: str | None, actor: str
) -> tuple[int, dict[str, Any]]:
    operations = ctx.operations
    stored = operations.store.read(lambda c: find_policy(c, version))
    if stored is None:
        raise refuse(404, f"version {version} is unknown")
    etag = f'"{stored.content_hash}"'
    if if_match is not None and not matches(if_match, etag):
        raise refuse(412, f"If-Match is {if_match!r}, the policy is {etag}")
    if wanted.policy_hash != stored.content_hash:
        raise refuse(409, f"version {version} has hash {stored.content_hash}", param="policy_hash")
    document: dict[str, Any] = {"version": version, "policy_hash": stored.content_hash}
    try:
        if wanted.hold:
            operations.hold(stored.policy, actor=actor)
            return 202, {**document, "outcome": {"status": "awaiting_approval", "reason": "held as asked"}}
        outcome = operations.submit(stored.policy, actor=actor)
    except ApprovalNeeded as error:
        return 202, {**document, "outcome": {"status": "awaiting_approval", "reason": str(error)}}
    except PolicyInvalid as error:
        raise refuse(409, str(error)) from error
    return 200, {**document, "outcome": outcome_document(outcome, operations.topology)}
