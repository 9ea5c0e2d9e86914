"""Reads the drive-test logs of a commercial 5G network (Raca et al. 2020): one phone, a row a second.

Traps of the format: '-' for a value the phone did not report; several rows under one second; seconds left out.
The phone's demand is unknown (it downloads as fast as it can), so `offered_bits` stays NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from telemetry_sim.errors import TraceUnreadable
from telemetry_sim.topology import Topology
from telemetry_sim.traces.csv_rows import csv_rows
from telemetry_sim.traces.frame_building import DeviceRow, frames_as_reported, runs_of
from telemetry_sim.traces.trace import LoadedTrace, RowTally, TraceSummary
from telemetry_sim.traces.traffic_classes import EMBB, nr_cell, slice_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

IRISH_COLUMNS = ("Timestamp", "RAWCELLID", "RSRP", "SNR", "CQI", "DL_bitrate", "State")
"""Columns that are read; the file has more."""

PERIOD_S = 1.0
_BOUNDS = {"RSRP": (-170.0, -20.0), "SNR": (-60.0, 80.0), "CQI": (0.0, 15.0), "DL_bitrate": (0.0, 1e7)}
_MAX_CELLS = 10_000


@dataclass(frozen=True, slots=True)
class _Sample:
    unix_s: float
    cell: str
    values: dict[str, float]


def is_irish_5g(path: Path) -> bool:
    """Whether the path is a drive-test log or a folder of them."""
    return any(_has_header(file) for file in _csv_files(path))


def read_irish_5g(path: Path) -> LoadedTrace:
    """The logs as frames of a second, one device; raises TraceUnreadable when no row is left."""
    tally = RowTally()
    samples = [sample for file in _csv_files(path) for sample in _read_file(file, tally)]
    samples = _one_a_second(samples, tally)
    if not samples:
        raise TraceUnreadable(f"{path}: no usable row among {tally.rows_read}; quarantined {dict(tally.quarantined)}")
    cells = sorted({sample.cell for sample in samples})[:_MAX_CELLS]
    start_s = samples[0].unix_s - PERIOD_S
    rows = [_device_row(sample, start_s, cells.index(sample.cell)) for sample in samples]
    frames = frames_as_reported(rows, period_s=PERIOD_S)
    return LoadedTrace(
        topology=Topology(
            cells=tuple(nr_cell(index + 1, f"cell-{index + 1}") for index in range(len(cells))),
            slices=(slice_of(EMBB),),
        ),
        summary=TraceSummary(
            format="irish_5g",
            rows_read=tally.rows_read,
            rows_accepted=tally.rows_accepted,
            quarantined=dict(tally.quarantined),
            num_devices=1,
            num_frames=len(frames),
            period_s=PERIOD_S,
            start_unix_s=start_s,
            runs_s=runs_of([frame.time_s for frame in frames]),
            notes=dict(tally.notes),
        ),
        all_frames=frames,
    )


def _csv_files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(path.glob("*.csv"))
    return [path] if path.suffix == ".csv" else []


def _has_header(file: Path) -> bool:
    with file.open(encoding="utf-8", errors="replace") as stream:
        return set(IRISH_COLUMNS) <= set(stream.readline(20_000).strip().split(","))


def _read_file(file: Path, tally: RowTally) -> Iterable[_Sample]:
    rows = csv_rows(file)
    header = next(rows, [])
    missing = [name for name in IRISH_COLUMNS if name not in header]
    if missing:
        raise TraceUnreadable(f"{file}: columns {missing} are missing; found {header[:12]}")
    position = {name: header.index(name) for name in IRISH_COLUMNS}
    for row in rows:
        tally.read()
        sample = _sample(row, len(header), position, tally)
        if sample:
            yield sample


def _sample(row: Sequence[str], width: int, position: dict[str, int], tally: RowTally) -> _Sample | None:
    if len(row) != width:
        tally.quarantine("column_count")
        return None
    try:
        stamp = datetime.strptime(row[position["Timestamp"]], "%Y.%m.%d_%H.%M.%S").replace(tzinfo=UTC)
        values = {name: _value(row[position[name]]) for name in _BOUNDS}
    except ValueError:
        tally.quarantine("not_a_number")
        return None
    if math.isnan(values["DL_bitrate"]):
        tally.quarantine("missing_rate")
        return None
    if any(not low <= values[name] <= high for name, (low, high) in _BOUNDS.items() if not math.isnan(values[name])):
        tally.quarantine("out_of_range")
        return None
    tally.note("missing_values", sum(math.isnan(value) for value in values.values()))
    return _Sample(stamp.timestamp(), row[position["RAWCELLID"]], values)


def _value(text: str) -> float:
    return math.nan if text.strip() in {"-", ""} else float(text)


def _one_a_second(samples: Iterable[_Sample], tally: RowTally) -> list[_Sample]:
    """The last row of each second, in time order."""
    kept: dict[float, _Sample] = {}
    for sample in samples:
        tally.quarantine("duplicate", int(sample.unix_s in kept))
        kept[sample.unix_s] = sample
    return [kept[unix_s] for unix_s in sorted(kept)]


def _device_row(sample: _Sample, start_s: float, cell: int) -> DeviceRow:
    return DeviceRow(
        time_s=sample.unix_s - start_s,
        device_id=1,
        cell=cell,
        slice=0,
        values={
            "served_bits": 1e3 * sample.values["DL_bitrate"] * PERIOD_S,
            "rsrp_dbm": sample.values["RSRP"],
            "sinr_db": sample.values["SNR"],
            "cqi": sample.values["CQI"],
        },
    )
