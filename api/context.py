"""What routes need, found on the application's state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from agent.store.tokens import TokenOwner
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


async def context(request: Request) -> Context:
    return cast("Context", request.app.state.context)


def owner(request: Request) -> TokenOwner:
    """Who calls; the guard has let them in."""
    found = request.scope.get("state", {}).get("owner")
    return found if isinstance(found, TokenOwner) else LOCAL


async def operator(request: Request) -> TokenOwner:
    return _at_least(request, "operator")


async def approver(request: Request) -> TokenOwner:
    return _at_least(request, "approver")


def _at_least(request: Request, role: str) -> TokenOwner:
    caller = owner(request)
    if not may(caller, role):
        raise refuse(403, f"role {role} is needed, the token has {caller.role}")
    return caller


InContext = Annotated[Context, Depends(context)]
Operator = Annotated[TokenOwner, Depends(operator)]
Approver = Annotated[TokenOwner, Depends(approver)]
