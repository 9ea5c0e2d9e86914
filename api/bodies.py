"""Request bodies: strict JSON in, typed objects out, every fault with its place."""

from __future__ import annotations

import json
from typing import Any, NoReturn, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.responses import Response

from api.errors import RequestRefused, refuse
from api.problems import Problem, count_faults

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
    faults = _callers_own(error.errors(include_url=False, include_context=False, include_input=False))
    return Problem(
        status=400,
        detail=count_faults(len(faults), "body"),
        cause="INVALID_MSG_FORMAT",
        invalid_params=tuple(
            (prefix + (".".join(map(str, fault["loc"])) or "body"), str(fault["msg"])[:300])
            for fault in faults[:_MAX_FAULTS]
        ),
    )


def _callers_own(faults: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without lists that are too short only because their faulty items were left out of the count."""
    holders = {fault["loc"][:depth] for fault in faults for depth in range(len(fault["loc"]))}
    return [fault for fault in faults if fault["type"] != "too_short" or fault["loc"] not in holders]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


# Made once: `json.loads` makes one for each body as soon as it is told about constants.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
