"""Raw device rows in, clean columns out; what can't be believed is quarantined with its reason.

Shapes: N accepted rows of all frames of an interval, in time order.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy.typing import NDArray

from edge_preprocess.clock_check import ClockCheck
from edge_preprocess.counter_check import without_absurd
from telemetry_sim.records import DELAY_BIN_EDGES_MS, CellColumns, DeviceColumns, SliceColumns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry_sim.records import TelemetryFrame
    from telemetry_sim.topology import Topology

PerRow = Float64[NDArray[np.float64], " rows"]
PerRowIndex = Int64[NDArray[np.int64], " rows"]
PerRowFlag = Bool[NDArray[np.bool_], " rows"]

_FLOAT_COLUMNS = tuple(f.name for f in fields(DeviceColumns) if f.name not in {"device_id", "cell", "slice"})
_columns = attrgetter("cell", "slice", *_FLOAT_COLUMNS)
_slice_columns = attrgetter(*(f.name for f in fields(SliceColumns) if f.name != "delay_counts"))
_cell_columns = attrgetter(*(f.name for f in fields(CellColumns)))
_NUM_BINS = (len(DELAY_BIN_EDGES_MS) - 1, len(DELAY_BIN_EDGES_MS))
"""Of a delay histogram, without or with the last, open bin."""
_BITS = ("offered_bits", "served_bits", "in_time_bits", "dropped_bits", "backlog_bits")
_MAX_BITS = 1e13
_BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(_BITS, (0.0, _MAX_BITS)),
    "delay_ms": (0.0, 1e7),
    # The widest carrier has 275 PRBs. Source: 3GPP TS 38.101-1, table 5.3.2-1.
    "prb": (0.0, 275.0 * 1.001),
    "sinr_db": (-60.0, 80.0),
    # What a device can report, with a margin (a value near 0 is mW, not dBm). Source: 3GPP TS 38.133, table 10.1.6.1-1.
    "rsrp_dbm": (-170.0, -20.0),
    # -1 stands for "none in use".
    "cqi": (-1.0, 15.0),
    "mcs": (-1.0, 31.0),
    "bler": (0.0, 1.0),
    "energy_j": (0.0, 1e9),
    "battery_j": (0.0, 1e12),
}
_CLAIMS = ("offered_bits", "dropped_bits", "backlog_bits")
"""What a device says of its own demand. An impossible claim is not heard; what else its row says still is, because a
device that could take its row out of its cell's means by a wild claim would move shares by it."""
_SAID_OF_THE_LINK = tuple(name for name in _BOUNDS if name not in _CLAIMS)
_IN_TIME_SLACK = 1.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Accepted device rows of an interval, concatenated."""

    device_id: PerRowIndex
    device: PerRowIndex
    """Position among the interval's distinct devices, 0 <= device < num_devices."""
    num_devices: int
    group: PerRowIndex
    """cell * number of slices + slice."""
    time_s: PerRow
    period_s: PerRow
    columns: dict[str, PerRow]
    """By DeviceColumns' names; NaN where the source reports nothing."""
    is_doubted: PerRowFlag
    """True where a claim of demand was impossible; it is NaN in the columns."""

    def __len__(self) -> int:
        return len(self.device_id)

    def last_of_devices(self) -> PerRowIndex:
        """Each heard device's last row, in row order."""
        last = np.full(self.num_devices, -1, dtype=np.int64)
        # Rows are in time order and the last write wins.
        last[self.device] = np.arange(len(self))
        is_last = np.zeros(len(self), dtype=bool)
        is_last[last[last >= 0]] = True
        return np.flatnonzero(is_last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """What came in during an interval: received = accepted + quarantined, per cell."""

    rows: Rows
    received: Int64[NDArray[np.int64], " cells"]
    quarantined: Int64[NDArray[np.int64], " cells"]
    reasons: Counter[str]
    frames: tuple[TelemetryFrame, ...]
    """The frames that were used, in time order."""


def take_in(frames: Sequence[TelemetryFrame], topology: Topology, *, clock: ClockCheck | None = None) -> Intake:
    """The believable rows of the frames; `clock` remembers which time it believed last, and what it doubted since.

    Rows of an unknown cell are counted at the first cell, so that the sum over cells stays exact. Where time steps back
    among the frames, those after the step are refused until time has caught up.
    """
    num_cells, num_slices = len(topology.cells), len(topology.slices)
    received = np.zeros(num_cells, dtype=np.int64)
    quarantined = np.zeros(num_cells, dtype=np.int64)
    reasons: Counter[str] = Counter()
    usable: list[TelemetryFrame] = []
    clock = clock or ClockCheck()
    for frame in frames:
        reason = _shape_fault(frame, num_cells, num_slices) or clock.judge(frame.time_s, frame.period_s)
        if not reason and usable and frame.time_s <= usable[-1].time_s:
            reason = "time_backwards"
        if reason:
            counts = _rows_per_cell(frame.devices.cell, num_cells)
            if frame.sensors is not None:
                counts += _rows_per_cell(frame.sensors.cell, num_cells)
            received += counts
            quarantined += counts
            reasons[reason] += int(counts.sum())
            continue
        usable.append(frame)
    cell, rows = _concatenate(usable, num_slices)
    received += _rows_per_cell(cell, num_cells)
    doubt = _unheard_claims(rows)
    fault = _row_faults(rows, cell, usable, num_cells, num_slices)
    refused = np.where((doubt > 0) & np.isin(fault, (0, _MISSING)), doubt, fault)
    if refused.any():
        codes, numbers = np.unique(refused[refused > 0], return_counts=True)
        reasons.update({_REASONS[code]: int(number) for code, number in zip(codes, numbers, strict=True)})
        quarantined += _rows_per_cell(cell[refused > 0], num_cells)
        rows = _kept(rows, fault == 0)
    believed, absurd = without_absurd(usable, num_cells)
    if absurd.any():
        # A counter that was refused is counted like a row; those that were believed are not counted at all.
        received, quarantined = received + absurd, quarantined + absurd
        reasons["counter_absurd"] += int(absurd.sum())
    return Intake(rows=rows, received=received, quarantined=quarantined, reasons=reasons, frames=believed)


def _rows_per_cell(cell: NDArray[np.integer], num_cells: int) -> Int64[NDArray[np.int64], " cells"]:
    known = np.where((cell >= 0) & (cell < num_cells), cell, 0)
    return np.bincount(known, minlength=num_cells).astype(np.int64)


def _shape_fault(frame: TelemetryFrame, num_cells: int, num_slices: int) -> str:
    """Why none of a frame's columns can be read together, or an empty string."""
    devices = frame.devices
    num_rows = len(devices.device_id)
    if any(len(column) != num_rows for column in _columns(devices)):
        return "ragged"
    slices, cells = frame.slices, frame.cells
    if slices is not None:
        shapes = {column.shape for column in _slice_columns(slices)}
        delays = slices.delay_counts.shape
        if shapes | {delays[:-1]} != {(num_cells, num_slices)} or delays[-1] not in _NUM_BINS:
            return "ragged"
    if cells is not None and {column.shape for column in _cell_columns(cells)} != {(num_cells,)}:
        return "ragged"
    return ""


def _concatenate(frames: Sequence[TelemetryFrame], num_slices: int) -> tuple[PerRowIndex, Rows]:
    counts = [len(frame.devices.device_id) for frame in frames]

    def fill(name: str, column: NDArray[np.generic]) -> None:
        if frames:
            np.concatenate([getattr(frame.devices, name) for frame in frames], out=column, casting="unsafe")

    # One block instead of many columns: its release keeps the allocator from giving the heap back in every interval.
    places = np.empty((3, sum(counts)), dtype=np.int64)
    values = np.empty((len(_FLOAT_COLUMNS), sum(counts)))
    for name, place in zip(("device_id", "cell", "slice"), places, strict=True):
        fill(name, place)
    for name, column in zip(_FLOAT_COLUMNS, values, strict=True):
        fill(name, column)
    device_id, cell, slice_index = places
    num_devices, device = _numbered(device_id)
    return cell, Rows(
        device_id=device_id,
        device=device,
        num_devices=num_devices,
        group=cell * num_slices + slice_index,
        time_s=np.repeat(np.array([frame.time_s for frame in frames], dtype=np.float64), counts),
        period_s=np.repeat(np.array([frame.period_s for frame in frames], dtype=np.float64), counts),
        columns=dict(zip(_FLOAT_COLUMNS, values, strict=True)),
        is_doubted=np.zeros(sum(counts), dtype=bool),
    )


def _numbered(device_id: PerRowIndex) -> tuple[int, PerRowIndex]:
    """How many distinct ids there are, and each row's place among them in rising order."""
    highest = int(device_id.max(initial=-1))
    if device_id.min(initial=0) < 0 or highest > _DENSE * (len(device_id) + 1):
        distinct, device = np.unique(device_id, return_inverse=True)
        return len(distinct), device.astype(np.int64, copy=False)
    # Most networks number their devices from 0 or nearly so: a table is quicker than a sort.
    is_present = np.zeros(highest + 1, dtype=bool)
    is_present[device_id] = True
    place = np.cumsum(is_present) - 1
    return int(is_present.sum()), place[device_id]


_DENSE = 8
"""Ids per row up to which a table of all ids pays."""
_REASONS = {
    1: "unknown_cell",
    2: "unknown_slice",
    3: "duplicate",
    4: "missing",
    5: "infinite",
    6: "negative",
    7: "absurd",
    8: "inconsistent",
}
_MISSING, _INFINITE, _NEGATIVE, _ABSURD = 4, 5, 6, 7


def _unheard_claims(rows: Rows) -> NDArray[np.int8]:
    """Take impossible claims of demand out of the rows; a code of _REASONS per row, 0 where nothing was taken."""
    doubt = np.zeros(len(rows), dtype=np.int8)
    for name in _CLAIMS:
        values = rows.columns[name]
        lowest, highest = _BOUNDS[name]
        outside = (values < lowest) | (values > highest)
        if outside.any():
            code = np.where(np.isinf(values), _INFINITE, np.where(values < 0, _NEGATIVE, _ABSURD))
            doubt = np.where(outside & (doubt == 0), code, doubt).astype(np.int8)
            rows.is_doubted[outside] = True
            values[outside] = np.nan
    return doubt


def _row_faults(
    rows: Rows, cell: PerRowIndex, frames: Sequence[TelemetryFrame], num_cells: int, num_slices: int
) -> NDArray[np.int8]:
    """A code of _REASONS per row, 0 where the row is believable; the first reason found stays."""
    fault = np.zeros(len(rows), dtype=np.int8)
    if not len(rows):
        return fault
    slice_index = rows.group - cell * num_slices

    def mark(code: int, bad: PerRowFlag) -> None:
        if bad.any():
            fault[bad & (fault == 0)] = code

    mark(1, (cell < 0) | (cell >= num_cells))
    mark(2, (slice_index < 0) | (slice_index >= num_slices))
    mark(3, _is_duplicate(rows, frames))
    served, offered = rows.columns["served_bits"], rows.columns["offered_bits"]
    mark(_MISSING, np.isnan(served) & np.isnan(offered))
    for name in _SAID_OF_THE_LINK:
        lowest, highest = _BOUNDS[name]
        values = rows.columns[name]
        # One comparison pair clears a clean column; NaN means "not reported" and passes.
        outside = (values < lowest) | (values > highest)
        if outside.any():
            mark(_INFINITE, np.isinf(values))
            mark(_NEGATIVE, outside & (values < 0) & (lowest == 0.0))
            mark(_ABSURD, outside)
    mark(8, rows.columns["in_time_bits"] > served * _IN_TIME_SLACK + 1.0)
    return fault


def _is_duplicate(rows: Rows, frames: Sequence[TelemetryFrame]) -> PerRowFlag:
    """True for every row but the first of a device in a frame."""
    counts = [len(frame.devices.device_id) for frame in frames]
    key = np.repeat(np.arange(len(frames)), counts) * rows.num_devices + rows.device
    backwards = np.arange(len(key) - 1, -1, -1)
    first = np.empty(len(frames) * rows.num_devices, dtype=np.int64)
    # The last write wins, so writing backwards leaves each key's first row.
    first[key[backwards]] = backwards
    return np.asarray(first[key] != np.arange(len(key)))


def _kept(rows: Rows, keep: PerRowFlag) -> Rows:
    return Rows(
        device_id=rows.device_id[keep],
        device=rows.device[keep],
        num_devices=rows.num_devices,
        group=rows.group[keep],
        time_s=rows.time_s[keep],
        period_s=rows.period_s[keep],
        columns={name: values[keep] for name, values in rows.columns.items()},
        is_doubted=rows.is_doubted[keep],
    )
