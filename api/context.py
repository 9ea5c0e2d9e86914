"""What routes need, found on the application's state."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Annotated, cast
from weakref import WeakValueDictionary

from fastapi import Depends, Request

from agent.store.tokens import TokenOwner
from api.conversations import Conversations
from api.errors import refuse
from api.metrics import Metrics
from api.operations import Operations
from api.security import LOCAL, may
from api.settings import ApiSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One application's parts."""

    operations: Operations
    settings: ApiSettings
    metrics: Metrics
    conversations: Conversations
    keys_in_use: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    """A lock for each idempotency key that comes with a request that is being served."""


def context_of(request: Request) -> Context:
    """For the routes that are called most: a dependency costs more than what they do."""
    return cast("Context", request.app.state.context)


async def context(request: Request) -> Context:
    return context_of(request)


def owner(request: Request) -> TokenOwner:
    """Who calls; the guard has let them in."""
    found = request.scope.get("state", {}).get("owner")
    return found if isinstance(found, TokenOwner) else LOCAL


async def operator(request: Request) -> TokenOwner:
    return require_role(request, "operator")


async def approver(request: Request) -> TokenOwner:
    return require_role(request, "approver")


def require_role(request: Request, role: str) -> TokenOwner:
    """Who calls, where they may; raises RequestRefused (403)."""
    caller = owner(request)
    if not may(caller, role):
        raise refuse(403, f"role {role} is needed, the token has {caller.role}")
    return caller


def require_current(ctx: Context) -> None:
    """Raises RequestRefused (503) before the first interval, and NetworkSilent (503) while no edge speaks."""
    if not ctx.operations.digests:
        raise refuse(503, "no digest has come in yet; try again after the first interval")
    ctx.operations.require_heard()


InContext = Annotated[Context, Depends(context)]
Operator = Annotated[TokenOwner, Depends(operator)]
Approver = Annotated[TokenOwner, Depends(approver)]
