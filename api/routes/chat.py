"""The chat over REST: a sentence or a command in; calls, words and the answer out, at once or as they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import Future
from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from agent.errors import AgentError
from api.bodies import read_model
from api.context import Context, InContext, Operator, owner, require_current
from api.errors import RequestRefused, as_problem, refuse
from api.idempotency import IdempotencyKey, once
from api.known_queries import require_known_queries
from api.problems import Problem, problem_responses
from api.routes.network import COMMON
from api.schemas import ChatAnswer, ChatRequest, ConfirmationRequest
from api.security import may

router = APIRouter(prefix="/v1/chat", tags=["chat"], responses=COMMON, dependencies=[Depends(require_known_queries)])
TIMEOUT_S = 60.0
"""For one answer."""
_TOO_LATE = f"no answer within {TIMEOUT_S:g} s; try again"
_KEEP_ALIVE_S = 5.0
_STREAM = "text/event-stream"
_ANSWER = {"schema": ChatAnswer.model_json_schema()}
_END = "end"
_Queue = asyncio.Queue[tuple[str, dict[str, Any]]]


def _body(model: type[ChatRequest | ConfirmationRequest]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}


@router.get("")
async def describe_chat(request: Request, ctx: InContext) -> dict[str, Any]:
    """What can be talked about, and what the caller may do; the server reads its model from here on."""
    ctx.conversations.warm_up()
    topology, caller = ctx.operations.topology, owner(request)
    return {
        "cells": [site.id for site in topology.cells],
        "slices": [profile.name for profile in topology.slices],
        "role": caller.role,
        "may_change": may(caller, "operator"),
        "mode": (await asyncio.to_thread(ctx.operations.gate.stops)).mode.value,
        "is_ready": ctx.conversations.is_ready,
    }


@router.post(
    "",
    responses={
        200: {
            "description": "The answer; to `Accept: text/event-stream` events: call, pending, text, answer, problem",
            "content": {"application/json": _ANSWER, _STREAM: {"schema": {"type": "string"}}},
        },
        **problem_responses(409, 507),
    },
    openapi_extra=_body(ChatRequest),
    response_class=Response,
)
async def ask(request: Request, ctx: InContext, idempotency_key: IdempotencyKey = None) -> Response:
    """Answer a sentence or a command.

    Changes are described, not made: each waits for its own confirmation, except a plan that an approver has approved.
    """
    wanted, _ = await read_model(request, ChatRequest)
    caller = owner(request)
    if not wanted.read_only and not may(caller, "operator"):
        raise refuse(403, f"role operator is needed to change anything, the token has {caller.role}")
    require_current(ctx)
    if _STREAM in request.headers.get("accept", ""):
        if idempotency_key is not None:
            raise refuse(400, "a stream can't be given a second time; ask for JSON", param="Idempotency-Key")
        return await _streamed(request, ctx, wanted)

    async def work() -> tuple[int, dict[str, Any]]:
        return 200, await _within_time(_begin(request, ctx, wanted, lambda _kind, _document: None), _TOO_LATE)

    return await once(request, ctx.operations.store, caller, idempotency_key, work)


@router.post(
    "/confirmations",
    responses={
        200: {"description": "What came of it", "content": {"application/json": _ANSWER}},
        **problem_responses(409, 412, 507),
    },
    openapi_extra=_body(ConfirmationRequest),
    response_class=JSONResponse,
)
async def confirm(
    request: Request, ctx: InContext, caller: Operator, idempotency_key: IdempotencyKey = None
) -> Response:
    """A person's word on a change that the chat described to them: bound to what was shown, serves once, expires.

    The same word again does nothing again, and gets what came of the first.
    """
    wanted, _ = await read_model(request, ConfirmationRequest)

    def carry_out() -> dict[str, Any]:
        return ctx.conversations.confirm(caller, wanted.pending_id, wanted.binding, is_agreed=wanted.is_agreed)

    async def work() -> tuple[int, dict[str, Any]]:
        future = ctx.conversations.run(caller, carry_out, is_confirmation=True)
        return 200, await _within_time(
            future,
            f"no answer within {TIMEOUT_S:g} s; the change may have been made: send the same word again to learn",
        )

    return await once(request, ctx.operations.store, caller, idempotency_key, work)


def _begin(request: Request, ctx: Context, wanted: ChatRequest, hear: Any) -> Future[dict[str, Any]]:
    caller = owner(request)
    return ctx.conversations.run(
        caller,
        lambda: ctx.conversations.answer(
            caller, wanted.request, wanted.session, is_read_only=wanted.read_only, hear=hear
        ),
    )


async def _within_time(future: Future[dict[str, Any]], too_late: str) -> dict[str, Any]:
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), TIMEOUT_S)
    except TimeoutError as error:
        raise refuse(503, too_late) from error


async def _streamed(request: Request, ctx: Context, wanted: ChatRequest) -> Response:
    """Events as they come; what goes wrong before the first one is a problem document like any other."""
    loop, queue = asyncio.get_running_loop(), _Queue()

    def hear(kind: str, document: dict[str, Any]) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, (kind, document))

    future = _begin(request, ctx, wanted, hear)
    future.add_done_callback(lambda _: loop.call_soon_threadsafe(queue.put_nowait, (_END, {})))
    try:
        first = await asyncio.wait_for(queue.get(), TIMEOUT_S)
    except TimeoutError as error:
        raise refuse(503, _TOO_LATE) from error
    if first[0] == _END and future.exception() is not None:
        future.result()
    events = _events(first, queue, future)
    return StreamingResponse(events, media_type=_STREAM, headers={"cache-control": "no-store"})


async def _events(
    first: tuple[str, dict[str, Any]], queue: _Queue, future: Future[dict[str, Any]]
) -> AsyncIterator[str]:
    kind, document = first
    ends_s = asyncio.get_running_loop().time() + TIMEOUT_S
    while kind != _END:
        yield _event(kind, document)
        while queue.empty() and asyncio.get_running_loop().time() < ends_s:
            try:
                kind, document = await asyncio.wait_for(queue.get(), _KEEP_ALIVE_S)
                break
            except TimeoutError:
                yield ": still here\n\n"
        else:
            if queue.empty():
                yield _event("problem", Problem(status=503, detail=f"no answer within {TIMEOUT_S:g} s").document())
                return
            kind, document = queue.get_nowait()
    try:
        yield _event("answer", future.result())
    except (RequestRefused, AgentError) as error:
        yield _event("problem", as_problem(error).document())
    except Exception:  # noqa: BLE001 - the status line is out already; the words say no more than a 500 does
        yield _event("problem", Problem(status=500, detail="the server failed to serve the request").document())


def _event(kind: str, document: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(document)}\n\n"
