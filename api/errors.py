"""The errors of the REST face, by who can mend them.

ApiError
├── RequestRefused      the caller must mend the request; carries the HTTP problem
├── NetworkSilent       the edges and their broker must speak again; the loop waits, nobody plans (an AgentError too)
└── ServerMisconfigured the operator must mend an option of `edgewright serve`
"""

from __future__ import annotations

from typing import ClassVar

from agent.errors import (
    AgentError,
    ApprovalNeeded,
    DispatchTimeout,
    GoalInfeasible,
    ModelUnavailable,
    PolicyRejected,
    StoreFull,
    StoreUnusable,
)
from api.problems import Problem


class ApiError(Exception):
    """Root of the package's errors."""

    exit_status: ClassVar[int] = 2


class RequestRefused(ApiError):
    """A request that is answered with a problem document."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.status} {problem.title}: {problem.detail}")
        self.problem = problem


class NetworkSilent(ApiError, AgentError):
    """Nothing is known of the network as it is now."""

    exit_status: ClassVar[int] = 1


class ServerMisconfigured(ApiError):
    """An option that can't be served."""


_STATUS_OF: tuple[tuple[type[AgentError], int, str], ...] = (
    (StoreFull, 507, "INSUFFICIENT_RESOURCES"),
    (StoreUnusable, 503, "STORE_UNUSABLE"),
    (ModelUnavailable, 503, "MODEL_UNAVAILABLE"),
    (DispatchTimeout, 503, "DISPATCH_TIMEOUT"),
    (NetworkSilent, 503, "NETWORK_SILENT"),
    (ApprovalNeeded, 409, "APPROVAL_NEEDED"),
    (PolicyRejected, 409, "POLICY_REJECTED"),
    (GoalInfeasible, 409, "GOAL_INFEASIBLE"),
)


def refuse(status: int, detail: str, *, cause: str = "", param: str = "") -> RequestRefused:
    """The refusal to raise; `param` names the field or parameter at fault."""
    invalid = ((param, detail),) if param else ()
    return RequestRefused(Problem(status=status, detail=detail, cause=cause, invalid_params=invalid))


def as_problem(error: RequestRefused | AgentError) -> Problem:
    """What a caller is told of it, in an answer of its own or in a stream."""
    if isinstance(error, RequestRefused):
        return error.problem
    for kind, status, cause in _STATUS_OF:
        if isinstance(error, kind):
            return Problem(status=status, detail=str(error), cause=cause)
    return Problem(status=400, detail=str(error))
