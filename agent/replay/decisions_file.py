"""Decisions as a file: a header, then one JSON line per interval and cell; equal replays write equal bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from annotated_types import Ge, MaxLen
from pydantic import BaseModel, ConfigDict, ValidationError

from agent.cell_plan import Tier
from agent.errors import AgentInputInvalid
from agent.given_bytes import told_bytes
from agent.planner import Source
from agent.policy import ReasonCode
from agent.replay.replaying import CellReplay
from telemetry_sim.actions import Percent, Scheduler
from telemetry_sim.topology import Name

_MAX_LINE_BYTES = 1_000_000
_EXPECTED = "a file that `edgewright replay --record` wrote"


class _Contract(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


_Line = TypeVar("_Line", bound=_Contract)


class DecisionsHeader(_Contract):
    """What the decisions are about; drift is only told between equal formats, slices and intervals."""

    kind: Literal["edgewright-decisions"] = "edgewright-decisions"
    version: Literal[1] = 1
    format: str
    slices: Annotated[tuple[Name, ...], MaxLen(8)]
    interval_s: float
    is_per_state: bool
    planner: str
    model: str | None
    seed: int


class SliceDecision(_Contract):
    """One slice's part."""

    min_pct: Percent
    scheduler: Scheduler
    compute_pct: Percent
    tier: Tier
    report_interval_s: int


class DecisionRow(_Contract):
    """What holds in one cell after one interval's decision."""

    interval: Annotated[int, Ge(0)]
    cell: Annotated[int, Ge(0)]
    time_s: float
    source: Source
    tx_power_step_db: int
    reasons: tuple[ReasonCode, ...]
    slices: dict[Name, SliceDecision]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """A decisions file, read."""

    header: DecisionsHeader
    rows: tuple[DecisionRow, ...]


def decision_rows(cells: Iterable[CellReplay], slice_names: Sequence[str]) -> Iterator[DecisionRow]:
    """The rows of a replay."""
    for cell in cells:
        yield DecisionRow(
            interval=cell.interval,
            cell=cell.digest.cell,
            time_s=round(cell.digest.end_s, 3),
            source=cell.decided.source,
            tx_power_step_db=cell.plan.tx_power_step_db,
            reasons=cell.plan.reasons,
            slices={
                name: SliceDecision(
                    min_pct=part.min_pct,
                    scheduler=part.scheduler,
                    compute_pct=part.compute_pct,
                    tier=part.tier,
                    report_interval_s=part.report_interval_s,
                )
                for name, part in zip(slice_names, cell.plan.slices, strict=True)
            },
        )


def write_decisions(path: Path, decisions: Decisions) -> None:
    """Write the file anew; raises AgentInputInvalid where it can't be written."""
    lines = (one.model_dump(mode="json") for one in (decisions.header, *decisions.rows))
    try:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(json.dumps(line, sort_keys=True, separators=(",", ":")) + "\n" for line in lines)
    except OSError as error:
        raise AgentInputInvalid(f"--record {str(path)!r}: {error.strerror}; a writable file was expected") from error


def read_decisions(path: Path) -> Decisions:
    """Read a file strictly; raises AgentInputInvalid that names the line."""
    lines = _lines(path)
    first = next(lines, None)
    if first is None:
        raise AgentInputInvalid(f"{path}: is empty; expected {_EXPECTED}")
    header = _parse(path, *first, DecisionsHeader)
    rows: dict[tuple[int, int], DecisionRow] = {}
    for number, line in lines:
        row = _parse(path, number, line, DecisionRow)
        if set(row.slices) != set(header.slices):
            raise AgentInputInvalid(
                f"{path}, line {number}: slices {sorted(row.slices)}, the header has {header.slices}"
            )
        if (row.interval, row.cell) in rows:
            raise AgentInputInvalid(f"{path}, line {number}: interval {row.interval}, cell {row.cell} stands twice")
        rows[row.interval, row.cell] = row
    if not rows:
        raise AgentInputInvalid(f"{path}: holds no decision; expected {_EXPECTED}")
    return Decisions(header=header, rows=tuple(rows.values()))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Numbered lines that are not blank."""
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(_MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > _MAX_LINE_BYTES:
                    raise AgentInputInvalid(f"{path}, line {number}: longer than {_MAX_LINE_BYTES} bytes")
                if line.strip():
                    yield number, line
    except OSError as error:
        raise AgentInputInvalid(f"{path}: {error.strerror}; expected {_EXPECTED}") from error


def _parse(path: Path, number: int, line: bytes, kind: type[_Line]) -> _Line:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, fault["loc"])) or "line"
        given = fault["input"]
        got = told_bytes(given) if isinstance(given, bytes) else f"{given!r}"[:120]
        raise AgentInputInvalid(
            f"{path}, line {number}: {where}: {fault['msg']}, got {got}; expected {_EXPECTED}"
        ) from error
