"""The saved form of what a log miner has learned: JSON, versioned, checked when it is read."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, MaxLen
from pydantic import BaseModel, ConfigDict, ValidationError

from edge_preprocess.errors import StateUnreadable

STATE_VERSION = 1
_Words = Annotated[tuple[str, ...], MaxLen(1_000)]
_Count = Annotated[int, Ge(0)]


class SavedMiner(BaseModel):
    """Patterns, open slots and counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1]
    rules: str
    """Version of the rules that named the templates."""
    num_lines: _Count
    num_forgotten: _Count
    slots: tuple[_Words, ...]
    patterns: tuple[_Words, ...]
    counts: dict[str, tuple[_Count, _Count]]
    """Lines and number of the last line, per template text."""


def read_saved_miner(state: object, *, rules: str) -> SavedMiner:
    """The saved miner, checked."""
    try:
        saved = SavedMiner.model_validate(state)
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]
        where = ".".join(map(str, problem["loc"])) or "document"
        raise StateUnreadable(f"saved log templates: {where}: {problem['msg']}") from error
    if saved.rules != rules:
        raise StateUnreadable(f"saved log templates: rules are {saved.rules!r}, allowed is {rules!r}")
    return saved
