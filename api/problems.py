"""Problem documents. Source: RFC 9457; `cause` and `invalidParams` from 3GPP TS 29.571, 5.2.4.1."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

MEDIA_TYPE = "application/problem+json"
_CAUSES = {
    400: "INVALID_REQUEST",
    401: "UNAUTHENTICATED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "REQUEST_TIMEOUT",
    409: "CONFLICT",
    412: "PRECONDITION_FAILED",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    429: "TOO_MANY_REQUESTS",
    500: "SYSTEM_FAILURE",
    503: "NF_CONGESTION",
    507: "INSUFFICIENT_RESOURCES",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One reason why a request was not served."""

    status: int
    detail: str
    instance: str = ""
    cause: str = ""
    """A fixed word; that of the status where empty."""
    invalid_params: tuple[tuple[str, str], ...] = ()
    """Pairs of field or parameter, and reason."""

    @property
    def title(self) -> str:
        return HTTPStatus(self.status).phrase

    def document(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "cause": self.cause or _CAUSES.get(self.status, "UNSPECIFIED"),
        }
        if self.instance:
            body["instance"] = self.instance
        if self.invalid_params:
            body["invalidParams"] = [{"param": param, "reason": reason} for param, reason in self.invalid_params]
        return body

    def encode(self) -> bytes:
        return json.dumps(self.document(), ensure_ascii=True).encode()


def count_faults(num_faults: int, place: str) -> str:
    """`1 fault in the body`, `2 faults in the body`."""
    return f"{num_faults} fault{'' if num_faults == 1 else 's'} in the {place}"


PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "ProblemDetails",
    "required": ["type", "title", "status", "detail", "cause"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "cause": {"type": "string"},
        "invalidParams": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["param", "reason"],
                "properties": {"param": {"type": "string"}, "reason": {"type": "string"}},
            },
        },
    },
}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route documents; pass the result as `responses=`."""
    content = {MEDIA_TYPE: {"schema": PROBLEM_SCHEMA}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}
