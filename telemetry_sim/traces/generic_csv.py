"""Reads any CSV of device telemetry, given which column holds what.

A mapping says, for each field, the column and optionally a factor: `{"time_s": "ts*0.001", "device_id": "ue",
"served_bits": "throughput_kbps*1000"}`. It comes with the call or from a file beside the trace, `NAME.columns.json`;
without one, the columns must already be called as the fields. `time_s`, `device_id` and one of `served_bits` and
`offered_bits` are needed; `cell` and `slice` may be any text (a slice that is a traffic class gets its 5QI).
"""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from telemetry_sim.errors import TraceUnreadable
from telemetry_sim.topology import SliceId, Topology
from telemetry_sim.traces.csv_rows import csv_rows
from telemetry_sim.traces.frame_building import COLUMNS, DeviceRow, frames_aligned, runs_of
from telemetry_sim.traces.trace import LoadedTrace, RowTally, TraceSummary
from telemetry_sim.traces.traffic_classes import EMBB, nr_cell, slice_of, traffic_class_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from telemetry_sim.topology import SliceProfile

FIELDS = ("time_s", "device_id", "cell", "slice", *COLUMNS)

_TEXT_FIELDS = ("device_id", "cell", "slice")
_SIGNED = frozenset({"sinr_db", "rsrp_dbm"})
_MAX_SLICES = 8
_MAX_CELLS = 10_000
_MAX_VALUE = 1e15


@dataclass(frozen=True, slots=True)
class _Sample:
    time_s: float
    texts: dict[str, str]
    values: dict[str, float]


def has_mapping(path: Path) -> bool:
    """Whether a mapping of the file's columns lies beside it."""
    return path.is_file() and _mapping_file(path).is_file()


def is_generic_csv(path: Path) -> bool:
    """Whether the path is a CSV whose columns are already called as the fields."""
    if not path.is_file() or path.suffix.lower() not in {".csv", ".txt"}:
        return False
    with path.open(encoding="utf-8", errors="replace") as stream:
        header = stream.readline(20_000).strip().split(",")
    return {"time_s", "device_id"} <= set(header)


def read_generic_csv(path: Path, columns: Mapping[str, str] | None = None) -> LoadedTrace:
    """The rows as frames of the devices' usual spacing; raises TraceUnreadable when the mapping does not fit."""
    tally = RowTally()
    samples = _first_of_each(list(_read(path, columns or _mapping_beside(path), tally)), tally)
    if not samples:
        raise TraceUnreadable(f"{path}: no usable row among {tally.rows_read}; quarantined {dict(tally.quarantined)}")
    devices = _numbering(samples, "device_id")
    cells = _numbering(samples, "cell")
    slices = _numbering(samples, "slice")
    if len(slices) > _MAX_SLICES or len(cells) > _MAX_CELLS:
        raise TraceUnreadable(
            f"{path}: {len(slices)} slices and {len(cells)} cells; at most {_MAX_SLICES} and {_MAX_CELLS}"
        )
    period_s = _period(samples)
    start_s = samples[0].time_s - period_s
    rows = [
        DeviceRow(
            time_s=round(sample.time_s - start_s, 6),
            device_id=devices[sample.texts["device_id"]],
            cell=cells[sample.texts["cell"]],
            slice=slices[sample.texts["slice"]],
            values=sample.values,
        )
        for sample in samples
    ]
    frames = frames_aligned(rows, period_s=period_s)
    return LoadedTrace(
        topology=Topology(
            cells=tuple(nr_cell(index + 1, f"cell-{index + 1}") for index in range(len(cells))),
            slices=tuple(_slice(name, index) for name, index in slices.items()),
        ),
        summary=TraceSummary(
            format="csv",
            rows_read=tally.rows_read,
            rows_accepted=tally.rows_accepted,
            quarantined=dict(tally.quarantined),
            num_devices=len(devices),
            num_frames=len(frames),
            period_s=period_s,
            start_unix_s=start_s,
            runs_s=runs_of([frame.time_s for frame in frames]),
            notes=dict(tally.notes),
        ),
        all_frames=frames,
    )


def _mapping_file(path: Path) -> Path:
    return path.with_name(path.name + ".columns.json")


def _mapping_beside(path: Path) -> dict[str, str]:
    file = _mapping_file(path)
    if not file.is_file():
        return {}
    try:
        mapping = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise TraceUnreadable(f"{file}: not a JSON object of field to column: {error}") from error
    if not isinstance(mapping, dict) or not all(isinstance(value, str) for value in mapping.values()):
        raise TraceUnreadable(f"{file}: expected a JSON object of field to column name")
    return mapping


def _read(path: Path, mapping: Mapping[str, str], tally: RowTally) -> Iterable[_Sample]:
    rows = csv_rows(path)
    header = next(rows, None)
    if not header:
        raise TraceUnreadable(f"{path}: empty; expected a header")
    sources = _sources(path, header, mapping)
    for row in rows:
        tally.read()
        sample = _sample(row, len(header), sources, tally)
        if sample:
            yield sample


def _sources(path: Path, header: Sequence[str], mapping: Mapping[str, str]) -> dict[str, tuple[int, float]]:
    """Column position and factor of each field."""
    unknown = set(mapping) - set(FIELDS)
    if unknown:
        raise TraceUnreadable(f"{path}: mapping names unknown fields {sorted(unknown)}; known are {list(FIELDS)}")
    sources: dict[str, tuple[int, float]] = {}
    for field in FIELDS:
        name, _, factor = mapping.get(field, field).partition("*")
        if name in header:
            sources[field] = (header.index(name), _factor(path, field, factor))
        elif field in mapping:
            raise TraceUnreadable(f"{path}: {field} is mapped to column {name!r}; columns are {list(header)[:30]}")
    if not {"time_s", "device_id"} <= set(sources) or not {"served_bits", "offered_bits"} & set(sources):
        raise TraceUnreadable(
            f"{path}: needs time_s, device_id and served_bits or offered_bits; "
            f"found {sorted(sources)} in {list(header)[:30]}"
        )
    return sources


def _factor(path: Path, field: str, text: str) -> float:
    try:
        factor = float(text or "1")
    except ValueError as error:
        raise TraceUnreadable(f"{path}: factor of {field} is {text!r}; expected a number") from error
    if not math.isfinite(factor) or factor == 0:
        raise TraceUnreadable(f"{path}: factor of {field} is {text!r}; expected a number other than 0")
    return factor


def _sample(
    row: Sequence[str], width: int, sources: Mapping[str, tuple[int, float]], tally: RowTally
) -> _Sample | None:
    if len(row) != width:
        tally.quarantine("column_count")
        return None
    texts = {field: row[sources[field][0]].strip() if field in sources else "" for field in _TEXT_FIELDS}
    try:
        values = {
            field: factor * _number(row[position])
            for field, (position, factor) in sources.items()
            if field not in _TEXT_FIELDS
        }
    except ValueError:
        tally.quarantine("not_a_number")
        return None
    time_s = values.pop("time_s")
    if not texts["device_id"] or math.isnan(time_s):
        tally.quarantine("missing")
        return None
    known = {field: value for field, value in values.items() if not math.isnan(value)}
    if any(abs(v) > _MAX_VALUE or (v < 0 and f not in _SIGNED) for f, v in known.items()) or math.isinf(time_s):
        tally.quarantine("out_of_range")
        return None
    if "served_bits" not in known and "offered_bits" not in known:
        tally.quarantine("missing")
        return None
    return _Sample(time_s, texts, known)


def _number(text: str) -> float:
    return math.nan if text.strip() in {"", "-", "NA", "null"} else float(text)


def _first_of_each(samples: Iterable[_Sample], tally: RowTally) -> list[_Sample]:
    """The first row of each (time, device), in time order."""
    kept: dict[tuple[float, str], _Sample] = {}
    for sample in samples:
        key = (sample.time_s, sample.texts["device_id"])
        tally.quarantine("duplicate", int(key in kept))
        kept.setdefault(key, sample)
    return [kept[key] for key in sorted(kept)]


def _numbering(samples: Iterable[_Sample], field: str) -> dict[str, int]:
    return {text: index for index, text in enumerate(sorted({sample.texts[field] for sample in samples}))}


def _period(samples: Sequence[_Sample]) -> float:
    """The usual spacing in seconds of a device's reports; 1 where none reported twice. Samples are in time order."""
    times_s: dict[str, list[float]] = {}
    for sample in samples:
        times_s.setdefault(sample.texts["device_id"], []).append(sample.time_s)
    spacings_s = [
        statistics.median(later - earlier for earlier, later in pairwise(own)) for own in times_s.values() if own[1:]
    ]
    return statistics.median(spacings_s) if spacings_s else 1.0


def _slice(name: str, index: int) -> SliceProfile:
    profile = slice_of(traffic_class_of(name) or EMBB)
    if traffic_class_of(name):
        return profile.model_copy(update={"id": SliceId(sst=profile.id.sst, sd=index)})
    return profile.model_copy(update={"id": SliceId(sst=1, sd=index), "name": f"slice-{index}"})
