"""Where decisions differ from the expected ones, and how that is told."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from agent.errors import AgentInputInvalid
from agent.replay.decisions_file import DecisionRow, Decisions, DecisionsHeader

_SLICE_NUMBERS = ("min_pct", "compute_pct", "report_interval_s")
_SLICE_WORDS = ("scheduler", "tier")
_CELL_NUMBERS = ("tx_power_step_db", "time_s")
_CELL_WORDS = ("source", "reasons")
FIELDS = (*_SLICE_NUMBERS, *_SLICE_WORDS, *_CELL_NUMBERS, *_CELL_WORDS)
_ANY = "any"
_MAX_TOLD = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One field that differs by more than its tolerance, or a decision that stands on one side only."""

    interval: int
    cell: int
    slice: str | None
    field: str
    found: int | float | str | None
    """None where the replay made no such decision."""
    expected: int | float | str | None
    """None where no such decision was expected."""
    tolerance: float

    def __str__(self) -> str:
        place = f"interval {self.interval}, cell {self.cell}"
        if self.found is None:
            return f"{place}: a decision was expected, the replay has none"
        if self.expected is None:
            return f"{place}: the replay has a decision, none was expected"
        where = place if self.slice is None else f"{place}, slice {self.slice}"
        allowed = f" (tolerance {self.tolerance:g})" if self.tolerance else ""
        return f"{where}: {self.field} is {self.found}, expected {self.expected}{allowed}"


def parse_tolerances(texts: Sequence[str]) -> dict[str, float]:
    """Tolerances by field from FIELD=VALUE texts, `any` as infinite; raises AgentInputInvalid."""
    found: dict[str, float] = {}
    for text in texts:
        field, equals, value = text.partition("=")
        if not (field and equals):
            raise AgentInputInvalid(f"--tolerance {text!r}: expected FIELD=VALUE; fields are {', '.join(FIELDS)}")
        if field not in FIELDS:
            raise AgentInputInvalid(f"--tolerance {text!r}: field {field!r} is unknown; fields are {', '.join(FIELDS)}")
        found[field] = _tolerance(text, field, value)
    return found


def check_comparable(expected: DecisionsHeader, replayed: DecisionsHeader) -> None:
    """Refuse decisions about something else; raises AgentInputInvalid. Planner, model and seed may differ."""
    for field in ("format", "slices", "interval_s", "is_per_state"):
        theirs, ours = getattr(expected, field), getattr(replayed, field)
        if theirs != ours:
            raise AgentInputInvalid(f"--expect: the file's {field} is {theirs!r}, this replay's is {ours!r}")


def find_drift(
    replayed: Sequence[DecisionRow], expected: Decisions, tolerances: Mapping[str, float], *, limit: int | None = None
) -> tuple[Drift, ...]:
    """All differences in order of interval and cell; expectations from interval `limit` on are left alone."""
    ours = {(row.interval, row.cell): row for row in replayed}
    theirs = {(row.interval, row.cell): row for row in expected.rows if limit is None or row.interval < limit}
    drifts: list[Drift] = []
    for key in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(key), theirs.get(key)
        if mine is None or other is None:
            drifts.append(_one_sided(key, is_found=mine is not None))
        else:
            drifts.extend(_row_drift(mine, other, tolerances))
    return tuple(drifts)


def describe_drift(drifts: Sequence[Drift], num_decisions: int, source: str) -> str:
    """A few readable lines, the first differences first."""
    touched = len({(drift.interval, drift.cell) for drift in drifts})
    lines = [f"{touched} of {num_decisions} decisions differ from {source}:"]
    lines += [f"  {drift}" for drift in drifts[:_MAX_TOLD]]
    if len(drifts) > _MAX_TOLD:
        lines.append(f"  … and {len(drifts) - _MAX_TOLD} more differences")
    return "\n".join(lines)


def _tolerance(text: str, field: str, value: str) -> float:
    if value == _ANY:
        return math.inf
    is_number = field in {*_SLICE_NUMBERS, *_CELL_NUMBERS}
    allowed = f"a number from 0 or {_ANY!r}" if is_number else f"{_ANY!r}, because {field} is no number"
    try:
        number = float(value) if is_number else math.nan
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise AgentInputInvalid(f"--tolerance {text!r}: expected FIELD=VALUE with VALUE {allowed}")
    return number


def _one_sided(key: tuple[int, int], *, is_found: bool) -> Drift:
    interval, cell = key
    return Drift(
        interval=interval,
        cell=cell,
        slice=None,
        field="decision",
        found="made" if is_found else None,
        expected=None if is_found else "made",
        tolerance=0.0,
    )


def _row_drift(mine: DecisionRow, other: DecisionRow, tolerances: Mapping[str, float]) -> Iterator[Drift]:
    for field in (*_CELL_NUMBERS, *_CELL_WORDS):
        yield from _field_drift(mine, None, field, getattr(mine, field), getattr(other, field), tolerances)
    for name, part in mine.slices.items():
        for field in (*_SLICE_NUMBERS, *_SLICE_WORDS):
            values = getattr(part, field), getattr(other.slices[name], field)
            yield from _field_drift(mine, name, field, *values, tolerances)


def _field_drift(
    row: DecisionRow, name: str | None, field: str, found: object, expected: object, tolerances: Mapping[str, float]
) -> Iterator[Drift]:
    tolerance = tolerances.get(field, 0.0)
    if tolerance == math.inf:
        return
    if isinstance(found, (int, float)) and isinstance(expected, (int, float)):
        # Decimal fractions such as 0.3 - 0.2 must not drift by the last binary digit.
        is_same = abs(found - expected) <= tolerance + 1e-9
        pair: tuple[int | float | str, int | float | str] = found, expected
    else:
        is_same = found == expected
        pair = _word(found), _word(expected)
    if not is_same:
        yield Drift(
            interval=row.interval,
            cell=row.cell,
            slice=name,
            field=field,
            found=pair[0],
            expected=pair[1],
            tolerance=tolerance,
        )


def _word(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
