"""Request bodies: strict JSON in, typed objects out, every fault with its place."""

from __future__ import annotations

import json
from typing import Any, NoReturn, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from api.errors import RequestRefused, refuse
from api.problems import Problem

Model = TypeVar("Model", bound=BaseModel)
_MAX_FAULTS = 20


class JsonResponse(Response):
    """A body that is JSON text already."""

    media_type = "application/json"


async def read_model(request: Request, model: type[Model]) -> tuple[Model, Any]:
    """The typed object and the JSON it came from; raises RequestRefused (400)."""
    body = await request.body()
    document = parse_json(body)
    try:
        return model.model_validate_json(body), document
    except ValidationError as error:
        raise RequestRefused(invalid_body(error)) from error


def parse_json(body: bytes) -> Any:
    """Raises RequestRefused (400) for anything that is not JSON, NaN and infinities included."""
    if not body.strip():
        raise refuse(400, "a JSON body is needed", param="body")
    try:
        return _DECODER.decode(body.decode(json.detect_encoding(body), "surrogatepass"))
    except RecursionError as error:
        raise refuse(400, "the body is nested too deeply", param="body") from error
    except ValueError as error:
        raise refuse(400, f"the body is not JSON: {str(error)[:200]}", param="body") from error


def invalid_body(error: ValidationError, *, prefix: str = "") -> Problem:
    """Where a body breaks its schema."""
    faults = tuple(
        (prefix + (".".join(map(str, fault["loc"])) or "body"), str(fault["msg"])[:300])
        for fault in error.errors(include_url=False, include_context=False, include_input=False)[:_MAX_FAULTS]
    )
    return Problem(
        status=400,
        detail=f"{error.error_count()} faults in the body",
        cause="INVALID_MSG_FORMAT",
        invalid_params=faults,
    )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


# Made once: `json.loads` makes one for each body as soon as it is told about constants.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
