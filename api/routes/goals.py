"""Operators' own goals, with revisions to guard against lost updates."""

from __future__ import annotations

import json
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Request
from starlette.responses import JSONResponse, Response

from agent.errors import GoalInvalid
from agent.goal import Goal, check_goal
from agent.store.goals import OPERATOR_TYPE, StoredGoal
from api.bodies import read_model
from api.context import Context, InContext, Operator
from api.errors import refuse
from api.goal_book import NOT_ENFORCED, OTHER_REASON, GoalBook
from api.known_queries import require_known_queries
from api.preconditions import matches
from api.problems import problem_responses
from api.routes.a1 import policy_path
from api.routes.network import COMMON
from api.schemas import GoalBody
from api.slice_sla import POLICY_TYPE_ID, NotApplicable, SliceSlaTarget, describe_target, to_goal
from telemetry_sim.topology import Topology

router = APIRouter(prefix="/v1/goals", tags=["goals"], responses=COMMON, dependencies=[Depends(require_known_queries)])
GoalId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
IfMatch = Annotated[str | None, Header(max_length=100)]
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": GoalBody.model_json_schema()}}}}


@router.get("")
async def list_goals(ctx: InContext) -> list[dict[str, Any]]:
    """All goals, those that came over A1-P included, and whether each is enforced.

    `href` says where each is read and deleted, `asked` what an A1 policy asks for in its own numbers (a guaranteed
    rate is heeded as a floor of the in-time ratio), and `enforce_detail` why a goal is not enforced.
    """
    book = ctx.operations.goals
    stored = [each for kind in (OPERATOR_TYPE, POLICY_TYPE_ID) for each in book.of_type(kind)]
    return [_document(each, book, ctx.operations.topology) for each in stored]


@router.get("/{goal_id}", response_class=JSONResponse)
async def read_goal(goal_id: GoalId, ctx: InContext) -> Response:
    """One goal; its ETag is the revision."""
    return _answer(_known(ctx, goal_id), ctx, status=200)


@router.put(
    "/{goal_id}",
    responses={201: {"description": "Created"}, **problem_responses(409, 412, 507)},
    openapi_extra=_BODY,
    response_class=JSONResponse,
)
async def put_goal(
    goal_id: GoalId, request: Request, ctx: InContext, caller: Operator, if_match: IfMatch = None
) -> Response:
    """Create or replace; with If-Match only the revision that the caller saw is replaced."""
    body, _ = await read_model(request, GoalBody)
    if body.id not in (None, goal_id):
        raise refuse(400, f"id is {body.id!r}, the path says {goal_id!r}: leave it out or let them agree", param="id")
    goal = Goal(id=goal_id, expectations=body.expectations, priority=body.priority, valid_until_s=body.valid_until_s)
    require_askable(ctx, goal, param="expectations")
    check = partial(_require_match, if_match)
    known = ctx.operations.goals.find(OPERATOR_TYPE, goal_id)
    check(None if known is None else known.revision)
    if known is None and ctx.operations.goals.find(POLICY_TYPE_ID, goal_id) is not None:
        raise refuse(409, f"{_over_a1(goal_id)}; take another id")
    if known is None and len(ctx.operations.goals) >= ctx.settings.max_goals:
        raise refuse(507, f"{ctx.settings.max_goals} goals are kept already; delete some first")
    wanted = StoredGoal(
        policy_type=OPERATOR_TYPE,
        id=goal_id,
        document=goal.model_dump_json(),
        goal=goal,
        status=NOT_ENFORCED,
        reason=OTHER_REASON,
    )
    kept, is_new = await ctx.operations.goals.put(wanted, actor=caller.name, check=check)
    return _answer(kept, ctx, status=201 if is_new else 200)


@router.delete("/{goal_id}", status_code=204, response_class=Response, responses=problem_responses(412))
async def delete_goal(goal_id: GoalId, ctx: InContext, caller: Operator, if_match: IfMatch = None) -> Response:
    """Withdraw a goal."""
    check = partial(_require_match, if_match)
    check(_known(ctx, goal_id).revision)
    if not await ctx.operations.goals.delete(OPERATOR_TYPE, goal_id, actor=caller.name, check=check):
        raise refuse(404, f"goal {goal_id!r} is unknown")
    return Response(status_code=204)


def require_askable(ctx: Context, goal: Goal, *, param: str) -> None:
    """Raises RequestRefused (400) for a goal that names unknown things or has expired."""
    try:
        check_goal(goal, ctx.operations.topology)
    except GoalInvalid as error:
        raise refuse(400, str(error), param=param) from error
    now_s = ctx.operations.now_s
    if goal.is_expired(now_s):
        detail = f"valid_until_s {goal.valid_until_s:.10g} has passed: it is {now_s:.10g} s of the network's time"
        raise refuse(400, detail, param="valid_until_s")


def _known(ctx: Context, goal_id: str) -> StoredGoal:
    stored = ctx.operations.goals.find(OPERATOR_TYPE, goal_id)
    if stored is not None:
        return stored
    if ctx.operations.goals.find(POLICY_TYPE_ID, goal_id) is not None:
        raise refuse(404, f"{_over_a1(goal_id)}; it is read and deleted there")
    raise refuse(404, f"goal {goal_id!r} is unknown")


def _over_a1(goal_id: str) -> str:
    return f"goal {goal_id!r} came over A1-P and lives at {policy_path(POLICY_TYPE_ID, goal_id)}"


def _require_match(if_match: str | None, revision: int | None) -> None:
    current = None if revision is None else _etag(revision)
    if if_match is not None and not matches(if_match, current):
        raise refuse(412, f"If-Match is {if_match!r}, the goal is at {current}")


def _etag(revision: int) -> str:
    return f'"{revision}"'


def _answer(stored: StoredGoal, ctx: Context, *, status: int) -> Response:
    headers = {"ETag": _etag(stored.revision)}
    if status == 201:
        headers["Location"] = f"/v1/goals/{stored.id}"
    document = _document(stored, ctx.operations.goals, ctx.operations.topology)
    return JSONResponse(document, status_code=status, headers=headers)


def _document(stored: StoredGoal, book: GoalBook, topology: Topology) -> dict[str, Any]:
    is_own = stored.policy_type == OPERATOR_TYPE
    target = None if is_own else SliceSlaTarget.model_validate_json(stored.document)
    return {
        "id": stored.id,
        "policy_type": stored.policy_type or None,
        "href": f"/v1/goals/{stored.id}" if is_own else policy_path(stored.policy_type, stored.id),
        "goal": None if stored.goal is None else json.loads(stored.goal.model_dump_json()),
        "asked": None if target is None else target.sliceSlaObjectives.model_dump(exclude_none=True),
        "description": None if target is None else describe_target(target),
        "is_expired": stored.goal is not None and stored.goal.is_expired(book.now_s),
        "enforce_status": stored.status,
        "enforce_reason": stored.reason or None,
        "enforce_detail": book.detail(stored.key) or _not_applicable(stored, target, topology) or None,
        "revision": stored.revision,
        "created_us": stored.created_us,
        "updated_us": stored.updated_us,
    }


def _not_applicable(stored: StoredGoal, target: SliceSlaTarget | None, topology: Topology) -> str:
    """What of a goal can't be heeded here at all; empty where it can be."""
    if stored.goal is not None:
        return ""
    if target is None:
        return "kept by an earlier version; it asks for nothing that can be heeded"
    meaning = to_goal(stored.id, target, topology)
    return meaning.detail if isinstance(meaning, NotApplicable) else ""
