"""The errors of the REST face, by who can mend them.

ApiError
├── RequestRefused      the caller must mend the request; carries the HTTP problem
└── ServerMisconfigured the operator must mend an option of `edgewright serve`
"""

from __future__ import annotations

from typing import ClassVar

from api.problems import Problem


class ApiError(Exception):
    """Root of the package's errors."""

    exit_status: ClassVar[int] = 2


class RequestRefused(ApiError):
    """A request that is answered with a problem document."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.status} {problem.title}: {problem.detail}")
        self.problem = problem


class ServerMisconfigured(ApiError):
    """An option that can't be served."""


def refuse(status: int, detail: str, *, cause: str = "", param: str = "") -> RequestRefused:
    """The refusal to raise; `param` names the field or parameter at fault."""
    invalid = ((param, detail),) if param else ()
    return RequestRefused(Problem(status=status, detail=detail, cause=cause, invalid_params=invalid))
