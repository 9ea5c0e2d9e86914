"""Reads a SCOPE run: a folder of per-device CSV files, one row per device and 250 ms (TRACTOR's recordings).

Traps of the format, each handled and counted: unnamed separator columns; files that begin with rows of earlier runs;
rows written twice; slicing switched off, so that a device's slice is its traffic class, named in `output_multi*.txt`;
no demand column, so that demand is what was served plus the growth of the buffer; silences of more than a minute.
Source of the columns: SCOPE (Bonati et al. 2021), table of the metrics CSV.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry_sim.errors import TraceUnreadable
from telemetry_sim.topology import Topology
from telemetry_sim.traces.csv_rows import csv_rows
from telemetry_sim.traces.frame_building import DeviceRow, frames_from_rows, runs_of
from telemetry_sim.traces.trace import LoadedTrace, RowTally, TraceSummary
from telemetry_sim.traces.traffic_classes import EMBB, TRAFFIC_CLASSES, lte_cell, slice_of, traffic_class_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

SCOPE_COLUMNS = (
    "Timestamp",
    "IMSI",
    "RNTI",
    "dl_mcs",
    "dl_n_samples",
    "dl_buffer [bytes]",
    "tx_brate downlink [Mbps]",
    "tx_errors downlink (%)",
    "dl_cqi",
    "sum_granted_prbs",
)
"""Columns that are read; the file has more."""

NATIVE_PERIOD_S = 0.25
_SUBFRAMES_PER_PERIOD = 250.0
# An LTE carrier has at most 110 PRBs in each of a period's subframes.
_MAX_GRANTED = 110 * _SUBFRAMES_PER_PERIOD
_MAX_MBPS = 400.0
_MAX_BUFFER_BYTES = 1e9
_BOUNDS = {
    "dl_mcs": (0.0, 31.0),
    "dl_n_samples": (0.0, 1e6),
    "dl_buffer [bytes]": (0.0, _MAX_BUFFER_BYTES),
    "tx_brate downlink [Mbps]": (0.0, _MAX_MBPS),
    "tx_errors downlink (%)": (0.0, 100.0),
    "dl_cqi": (0.0, 15.0),
    "sum_granted_prbs": (0.0, _MAX_GRANTED),
}
_MILLISECONDS_2000_TO_2100 = (946_684_800_000, 4_102_444_800_000)


@dataclass(frozen=True, slots=True)
class _Sample:
    unix_ms: int
    imsi: int
    rnti: int
    values: dict[str, float]


def is_scope(path: Path) -> bool:
    """Whether the path is a folder of SCOPE files or one of them."""
    return any(_has_scope_header(file) for file in _csv_files(path))


def read_scope(path: Path, *, period_s: float = 1.0) -> LoadedTrace:
    """The run in a folder (or one device's file) as frames of `period_s`; raises TraceUnreadable when none is left."""
    tally = RowTally()
    samples = [sample for file in _csv_files(path) for sample in _read_file(file, tally)]
    samples = _without_duplicates(samples, tally)
    samples = _of_this_run(samples, tally)
    if not samples:
        raise TraceUnreadable(f"{path}: no usable row among {tally.rows_read}; quarantined {dict(tally.quarantined)}")
    folder = path if path.is_dir() else path.parent
    classes = _device_classes(folder, {sample.imsi for sample in samples}, tally)
    present = [name for name in TRAFFIC_CLASSES if name in classes.values()]
    start_ms = min(sample.unix_ms for sample in samples) - int(1000 * NATIVE_PERIOD_S)
    rows = list(_device_rows(samples, start_ms, {imsi: present.index(name) for imsi, name in classes.items()}))
    frames = frames_from_rows(rows, period_s=period_s)
    return LoadedTrace(
        topology=Topology(cells=(lte_cell("scope-cell"),), slices=tuple(slice_of(name) for name in present)),
        summary=TraceSummary(
            format="scope",
            rows_read=tally.rows_read,
            rows_accepted=tally.rows_accepted,
            quarantined=dict(tally.quarantined),
            num_devices=len(classes),
            num_frames=len(frames),
            period_s=period_s,
            start_unix_s=start_ms / 1000.0,
            runs_s=runs_of([frame.time_s for frame in frames]),
            notes=dict(tally.notes),
        ),
        all_frames=frames,
    )


def _csv_files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(path.glob("*_metrics.csv"))
    return [path] if path.suffix == ".csv" else []


def _has_scope_header(file: Path) -> bool:
    with file.open(encoding="utf-8", errors="replace", newline="") as stream:
        return set(SCOPE_COLUMNS) <= set(stream.readline(20_000).strip().split(","))


def _read_file(file: Path, tally: RowTally) -> Iterable[_Sample]:
    rows = csv_rows(file)
    header = next(rows, None)
    if header is None:
        raise TraceUnreadable(f"{file}: empty; expected a header with {', '.join(SCOPE_COLUMNS[:4])}, ...")
    missing = [name for name in SCOPE_COLUMNS if name not in header]
    if missing:
        raise TraceUnreadable(f"{file}: columns {missing} are missing; found {header[:12]}")
    tally.note("separator_columns", header.count(""))
    position = {name: header.index(name) for name in SCOPE_COLUMNS}
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
        values = {name: float(row[position[name]]) for name in _BOUNDS}
        unix_ms, imsi, rnti = (int(row[position[name]]) for name in ("Timestamp", "IMSI", "RNTI"))
    except ValueError:
        tally.quarantine("not_a_number")
        return None
    if not all(math.isfinite(value) for value in values.values()):
        tally.quarantine("not_finite")
        return None
    in_range = all(low <= values[name] <= high for name, (low, high) in _BOUNDS.items())
    earliest, latest = _MILLISECONDS_2000_TO_2100
    if not (in_range and earliest <= unix_ms <= latest and 0 <= imsi < 10**15):
        tally.quarantine("out_of_range")
        return None
    return _Sample(unix_ms, imsi, rnti, values)


def _without_duplicates(samples: Iterable[_Sample], tally: RowTally) -> list[_Sample]:
    """The first row of each (time, device, connection), in time order."""
    kept: dict[tuple[int, int, int], _Sample] = {}
    for sample in samples:
        key = (sample.unix_ms, sample.imsi, sample.rnti)
        if key in kept:
            tally.quarantine("duplicate")
        else:
            kept[key] = sample
    return sorted(kept.values(), key=lambda s: (s.unix_ms, s.imsi))


def _of_this_run(samples: list[_Sample], tally: RowTally) -> list[_Sample]:
    """Rows since the first stretch in which the run's devices report together; earlier ones are of earlier runs.

    Only the first device's file holds rows of earlier runs, so in their stretches it is alone.
    """
    runs = runs_of([sample.unix_ms / 1000.0 for sample in samples])
    num_devices = len({sample.imsi for sample in samples})
    for first_s, last_s in runs:
        present = {s.imsi for s in samples if first_s <= s.unix_ms / 1000.0 <= last_s}
        if len(present) > 1 or (num_devices == 1 and last_s == runs[-1][1]):
            kept = [s for s in samples if s.unix_ms / 1000.0 >= first_s]
            tally.quarantine("earlier_run", len(samples) - len(kept))
            return kept
    return samples


def _device_classes(folder: Path, devices: set[int], tally: RowTally) -> dict[int, str]:
    """Traffic class per device; eMBB where the run's notes do not tell."""
    classes: dict[int, str] = {}
    for notes in sorted(folder.glob("output_multi*.txt")):
        text = notes.read_text(encoding="utf-8", errors="replace")
        for name, imsi in re.findall(r"Using trace: \S*?([^/\s]+) for (\d{1,15})", text):
            traffic_class = traffic_class_of(name)
            if traffic_class and int(imsi) in devices:
                classes[int(imsi)] = traffic_class
    tally.note("devices_without_traffic_class", len(devices - set(classes)))
    return {imsi: classes.get(imsi, EMBB) for imsi in sorted(devices)}


def _device_rows(samples: Iterable[_Sample], start_ms: int, slices: dict[int, int]) -> Iterable[DeviceRow]:
    previous: dict[int, tuple[float, float]] = {}
    for sample in samples:
        time_s = (sample.unix_ms - start_ms) / 1000.0
        backlog_bits = 8.0 * sample.values["dl_buffer [bytes]"]
        seen_s, old_backlog_bits = previous.get(sample.imsi, (-math.inf, 0.0))
        # Across a silence the old buffer says nothing about what arrived in this period.
        growth_bits = backlog_bits - old_backlog_bits if time_s - seen_s <= 4 * NATIVE_PERIOD_S else 0.0
        previous[sample.imsi] = (time_s, backlog_bits)
        yield DeviceRow(
            time_s=time_s,
            device_id=sample.imsi,
            cell=0,
            slice=slices[sample.imsi],
            values=_values(sample.values, backlog_bits, growth_bits),
        )


def _values(row: dict[str, float], backlog_bits: float, growth_bits: float) -> dict[str, float]:
    served_bits = 1e6 * row["tx_brate downlink [Mbps]"] * NATIVE_PERIOD_S
    was_scheduled = row["dl_n_samples"] > 0
    return {
        "served_bits": served_bits,
        "offered_bits": max(0.0, served_bits + growth_bits),
        "backlog_bits": backlog_bits,
        "prb": row["sum_granted_prbs"] / _SUBFRAMES_PER_PERIOD,
        "mcs": row["dl_mcs"] if was_scheduled else math.nan,
        "bler": row["tx_errors downlink (%)"] / 100.0 if was_scheduled else math.nan,
        "cqi": row["dl_cqi"] if row["dl_cqi"] > 0 else math.nan,
    }
