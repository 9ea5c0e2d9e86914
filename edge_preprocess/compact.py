"""A digest in few bytes: values in the order of the contract, without names; usual values at a list's end are left out.

[version, [cell, start_s, end_s, ...]] as JSON, so that any reader can look at it; `unpack` gives the digest back.
"""

from __future__ import annotations

import json
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError

from edge_preprocess.digest import EdgeDigest
from edge_preprocess.errors import DigestInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

COMPACT_VERSION = 1
_Kinds = dict[str, "type[BaseModel] | None"]


def pack(digest: EdgeDigest) -> bytes:
    """The digest as bytes; at most a third of its full JSON."""
    return json.dumps([COMPACT_VERSION, _listed(digest)], separators=(",", ":")).encode()


def unpack(raw: bytes) -> EdgeDigest:
    """The digest; raises DigestInvalid for anything that `pack` does not make."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DigestInvalid(f"compact digest: {raw[:40]!r} is no JSON") from error
    if not isinstance(document, list) or len(document) != 2 or document[0] != COMPACT_VERSION:
        raise DigestInvalid(f"compact digest: begins with {raw[:40]!r}, [{COMPACT_VERSION},[...]] needed")
    try:
        return EdgeDigest.model_validate(_named(document[1], EdgeDigest))
    except (ValidationError, TypeError, ValueError) as error:
        raise DigestInvalid(f"compact digest: {error}") from error


def _listed(model: BaseModel) -> list[Any]:
    """Field values in order; the longest tail of default values is cut off."""
    fields = type(model).model_fields
    values = [getattr(model, name) for name in fields]
    while values and values[-1] == list(fields.values())[len(values) - 1].get_default(call_default_factory=True):
        values.pop()
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return _listed(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return int(value) if isinstance(value, bool) else value


def _named(values: Any, kind: type[BaseModel]) -> Mapping[str, Any]:
    """The document that the contract reads, from values in order."""
    kinds = _models_in(kind)
    if not isinstance(values, list) or len(values) > len(kinds):
        raise ValueError(f"{kind.__name__}: a list of at most {len(kinds)} values needed")
    named: dict[str, Any] = {}
    for (name, model), value in zip(kinds.items(), values, strict=False):
        if model is None or value is None:
            named[name] = value
        elif _is_tuple(kind, name):
            named[name] = [_named(item, model) for item in value]
        else:
            named[name] = _named(value, model)
    return named


def _models_in(kind: type[BaseModel]) -> _Kinds:
    """The contract's class behind each field, None for plain values."""
    hints = get_type_hints(kind)
    return {name: _model_of(hints[name]) for name in kind.model_fields}


def _is_tuple(kind: type[BaseModel], name: str) -> bool:
    return get_origin(get_type_hints(kind)[name]) is tuple


def _model_of(hint: Any) -> type[BaseModel] | None:
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return hint
    if get_origin(hint) in {tuple, Union, UnionType}:
        found = (_model_of(part) for part in get_args(hint))
        return next((model for model in found if model is not None), None)
    return None
