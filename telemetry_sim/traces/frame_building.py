"""From flat recorded rows to frames of one period each."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from telemetry_sim.records import DeviceColumns, TelemetryFrame

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

RUN_GAP_S = 60.0
"""A longer silence ends a run."""

SUMMED = ("offered_bits", "served_bits", "in_time_bits", "dropped_bits", "energy_j")
LAST = ("backlog_bits", "battery_j")
AVERAGED = ("delay_ms", "prb", "sinr_db", "rsrp_dbm", "cqi", "mcs", "bler")
COLUMNS = SUMMED + LAST + AVERAGED


@dataclass(slots=True, kw_only=True)
class DeviceRow:
    """One accepted row of a recording; columns that it lacks are NaN in the frame."""

    time_s: float
    device_id: int
    cell: int
    slice: int
    values: Mapping[str, float] = field(default_factory=dict)
    """By DeviceColumns' names, over the recording's own period."""


def frames_from_rows(rows: Sequence[DeviceRow], *, period_s: float) -> tuple[TelemetryFrame, ...]:
    """Frames of `period_s` with a row per device that reported in it, in time order.

    Several rows of a device in one period are joined: bits and energy add up, levels keep the last, the rest average.
    """
    if not rows:
        return ()
    bins: dict[int, dict[int, list[DeviceRow]]] = {}
    for row in sorted(rows, key=lambda r: (r.time_s, r.device_id)):
        # A row stands for the time before it, so a row on the border belongs to the period that ends there.
        index = max(1, math.ceil(row.time_s / period_s - 1e-9))
        bins.setdefault(index, {}).setdefault(row.device_id, []).append(row)
    return tuple(_frame(index * period_s, period_s, devices) for index, devices in sorted(bins.items()))


def frames_as_reported(rows: Sequence[DeviceRow], *, period_s: float) -> tuple[TelemetryFrame, ...]:
    """A frame per report time, in time order, each speaking for `period_s`; a device's rows at one time are joined."""
    times: dict[float, dict[int, list[DeviceRow]]] = {}
    for row in rows:
        times.setdefault(row.time_s, {}).setdefault(row.device_id, []).append(row)
    return tuple(_frame(time_s, period_s, devices) for time_s, devices in sorted(times.items()))


def frames_aligned(rows: Sequence[DeviceRow], *, period_s: float) -> tuple[TelemetryFrame, ...]:
    """Frames of `period_s` of devices that each report at moments of their own, in time order.

    A frame ends with its last row. Periods begin where the fewest reports can come to lie on either side by a little
    jitter: amid the longest part of a period in which none was ever made. Rows are joined as in `frames_from_rows`;
    where one device's reports are all the moments there are, each moment is a frame.
    """
    if not rows:
        return ()
    reports = Counter(row.device_id for row in rows)
    if len({row.time_s for row in rows}) <= max(reports.values()):
        return frames_as_reported(rows, period_s=period_s)
    begin_s = _quietest_phase(np.array([row.time_s for row in rows]), period_s)
    bins: dict[int, dict[int, list[DeviceRow]]] = {}
    for row in sorted(rows, key=lambda r: (r.time_s, r.device_id)):
        index = math.floor((row.time_s - begin_s) / period_s)
        bins.setdefault(index, {}).setdefault(row.device_id, []).append(row)
    last_s = {index: max(reported[-1].time_s for reported in devices.values()) for index, devices in bins.items()}
    return tuple(_frame(last_s[index], period_s, devices) for index, devices in sorted(bins.items()))


def _quietest_phase(times_s: NDArray[np.float64], period_s: float) -> float:
    """The middle of the longest stretch of a period (0 to `period_s`) in which nothing was reported."""
    phases = np.unique(times_s % period_s)
    gaps = np.diff(phases, append=phases[0] + period_s)
    widest = int(np.argmax(gaps))
    return float(phases[widest] + 0.5 * gaps[widest])


def runs_of(times_s: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """First and last time of each stretch without a gap of more than a minute; times ascend."""
    runs: list[tuple[float, float]] = []
    for time_s in times_s:
        if runs and time_s - runs[-1][1] <= RUN_GAP_S:
            runs[-1] = (runs[-1][0], time_s)
        else:
            runs.append((time_s, time_s))
    return tuple(runs)


def device_columns(
    device_id: Sequence[int], cell: Sequence[int], slices: Sequence[int], columns: Mapping[str, NDArray[np.float64]]
) -> DeviceColumns:
    """Columns of a frame; those not given are NaN."""
    missing = np.full(len(device_id), np.nan)
    values = {name: np.asarray(columns.get(name, missing), dtype=np.float64) for name in COLUMNS}
    return DeviceColumns(
        device_id=np.asarray(device_id, dtype=np.int64),
        cell=np.asarray(cell, dtype=np.int16),
        slice=np.asarray(slices, dtype=np.int16),
        **values,
    )


def _frame(time_s: float, period_s: float, devices: Mapping[int, list[DeviceRow]]) -> TelemetryFrame:
    ids = sorted(devices)
    last = [devices[device_id][-1] for device_id in ids]
    columns = {name: np.array([_joined(name, devices[device_id]) for device_id in ids]) for name in COLUMNS}
    return TelemetryFrame(
        time_s=time_s,
        period_s=period_s,
        devices=device_columns(ids, [row.cell for row in last], [row.slice for row in last], columns),
    )


def _joined(name: str, rows: Sequence[DeviceRow]) -> float:
    values = [row.values[name] for row in rows if not math.isnan(row.values.get(name, math.nan))]
    if not values:
        return math.nan
    if name in SUMMED:
        return math.fsum(values)
    return values[-1] if name in LAST else math.fsum(values) / len(values)
