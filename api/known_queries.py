"""Query parameters of /v1: only those that a route names, so that a misspelt one is not taken for none."""

from __future__ import annotations

from fastapi import Request
from fastapi.dependencies.models import Dependant

from api.errors import RequestRefused
from api.problems import Problem

_MOST_TOLD = 20


async def require_known_queries(request: Request) -> None:
    """A router's dependency; raises RequestRefused (400) that names what the route does not know, and what it does."""
    if not request.query_params:
        return
    known = sorted(_names(request.scope["route"].dependant))
    unknown = [name[:80] for name in request.query_params if name not in known][:_MOST_TOLD]
    if not unknown:
        return
    allowed = f"allowed: {', '.join(known)}" if known else "none is allowed here"
    noun = "parameter" if len(unknown) == 1 else "parameters"
    raise RequestRefused(
        Problem(
            status=400,
            detail=f"unknown query {noun} {', '.join(map(repr, unknown))}; {allowed}",
            invalid_params=tuple((name, f"unknown query parameter; {allowed}") for name in unknown),
        )
    )


def _names(dependant: Dependant) -> set[str]:
    """Those of the route and of what it depends on, as they stand in a URL."""
    own = {field.alias for field in dependant.query_params}
    return own.union(*map(_names, dependant.dependencies))
