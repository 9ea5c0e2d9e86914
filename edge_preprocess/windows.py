"""Statistics of one interval per cell and slice, from clean rows and the cells' own counters.

Shapes: C cells, S slices, G = C * S groups, B delay bins, T frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from telemetry_sim.records import DELAY_BIN_EDGES_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_preprocess.intake import PerRow, PerRowIndex, Rows
    from telemetry_sim.records import CellColumns, SliceColumns, TelemetryFrame

PerGroup = Float64[NDArray[np.float64], " groups"]
PerCell = Float64[NDArray[np.float64], " cells"]
DelayCounts = Float64[NDArray[np.float64], "groups bins"]

# The truncated Shannon bound of 3GPP TR 36.942, A.2, with the ceiling of 256QAM (TS 38.214, table 5.2.2.1-3).
_SHANNON_SHARE = 0.6
_MOST_COUNTED = 1e15
_MAX_BITS_PER_HZ = 7.4063


@dataclass(frozen=True, slots=True, kw_only=True)
class RowStatistics:
    """What the device rows alone say, per group."""

    offered_bits: PerGroup
    served_bits: PerGroup
    in_time_bits: PerGroup
    backlog_bits: PerGroup
    """Of the devices last seen in the group, at their last report."""
    prb_seconds: PerGroup
    covered_s: PerGroup
    """Device-seconds that the rows speak for."""
    num_devices: PerGroup
    """Devices last seen in the group."""
    delay_counts: DelayCounts
    shannon_kbps_per_prb: PerGroup
    """NaN where no row has a SINR."""


def row_statistics(
    rows: Rows,
    offered_bits: PerRow,
    *,
    covered_s: PerRow,
    budgets_ms: PerGroup,
    prb_khz: PerGroup,
    needs_delays: bool = True,
) -> RowStatistics:
    """Sums per group; `budgets_ms` and `prb_khz` hold one entry per group.

    Without `needs_delays` the histogram stays empty, which saves a tenth of the time where the cells keep their own.
    """
    num_groups = len(budgets_ms)

    def total(values: PerRow) -> PerGroup:
        return _totals(rows.group, values, num_groups)

    served = _known(rows.columns["served_bits"], 0.0)
    delay = delay_or_estimate_ms(rows, covered_s)
    in_time = rows.columns["in_time_bits"]
    if np.isnan(in_time).any():
        in_time = np.where(np.isnan(in_time), _in_time_guess(served, delay, budgets_ms[rows.group]), in_time)
    last = rows.last_of_devices()
    at_end = rows.group[last]
    backlog = _known(rows.columns["backlog_bits"][last], 0.0)
    return RowStatistics(
        offered_bits=total(offered_bits),
        served_bits=total(served),
        in_time_bits=total(in_time),
        backlog_bits=_totals(at_end, backlog, num_groups),
        prb_seconds=total(_known(rows.columns["prb"], 0.0) * covered_s),
        covered_s=total(covered_s),
        num_devices=np.bincount(at_end, minlength=num_groups).astype(np.float64),
        delay_counts=(
            _delay_histogram(rows, delay, served, num_groups)
            if needs_delays
            else np.zeros((num_groups, len(DELAY_BIN_EDGES_MS)))
        ),
        shannon_kbps_per_prb=_shannon_mean(rows, prb_khz),
    )


def delay_or_estimate_ms(rows: Rows, covered_s: PerRow) -> PerRow:
    """The reported delay, or what Little's law makes of backlog and throughput where none is reported; NaN if idle."""
    delay = rows.columns["delay_ms"]
    missing = np.isnan(delay)
    if not missing.any():
        return delay
    served = _known(rows.columns["served_bits"], 0.0)
    backlog = _known(rows.columns["backlog_bits"], 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        little = np.where(served > 0, 1000.0 * backlog * covered_s / served, np.nan)
    return np.where(missing, little, delay)


def delay_quantile_ms(counts: DelayCounts, quantile: float) -> PerGroup:
    """A quantile of each group's delay histogram, linear inside a bin; NaN without a sample."""
    total = counts.sum(axis=1)
    cumulative = np.cumsum(counts, axis=1)
    wanted = quantile * total
    bin_index = np.minimum((cumulative < wanted[:, None]).sum(axis=1), counts.shape[1] - 1)
    group = np.arange(len(counts))
    inside = counts[group, bin_index]
    before = cumulative[group, bin_index] - inside
    edges = np.append(DELAY_BIN_EDGES_MS, DELAY_BIN_EDGES_MS[-1])
    low, high = edges[bin_index], edges[np.minimum(bin_index + 1, len(edges) - 1)]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(inside > 0, (wanted - before) / inside, 0.0)
    return np.where(total > 0, low + np.clip(share, 0.0, 1.0) * (high - low), np.nan)


def slice_counter(
    frames: Sequence[TelemetryFrame], read: Callable[[SliceColumns], NDArray[np.float64]], *, num_groups: int
) -> Float64[NDArray[np.float64], "frames groups"]:
    """One slice counter over the frames that have it; negative, infinite and unreported entries are NaN."""
    found = [read(f.slices) for f in frames if f.slices is not None]
    return _believable(np.array(found, dtype=np.float64).reshape(len(found), num_groups))


def offered_by_frame(
    frames: Sequence[TelemetryFrame], rows: Rows, offered_bits: PerRow, *, num_groups: int
) -> Float64[NDArray[np.float64], "frames groups"]:
    """Bits per second offered in each frame: the cells' own count, else the sum over the rows."""
    period_s = np.array([frame.period_s for frame in frames])[:, None]
    counted = slice_counter(frames, lambda s: s.offered_bits, num_groups=num_groups)
    if len(counted) == len(frames) and not np.isnan(counted).any():
        return np.asarray(counted / period_s)
    place = np.searchsorted([frame.time_s for frame in frames], rows.time_s)
    total = _totals(place * num_groups + rows.group, offered_bits, len(frames) * num_groups)
    return np.asarray(total.reshape(len(frames), num_groups) / period_s)


def cell_counter(
    frames: Sequence[TelemetryFrame], read: Callable[[CellColumns], NDArray[np.generic]], *, num_cells: int
) -> Float64[NDArray[np.float64], "frames cells"]:
    """One cell counter over the frames that have it; infinite entries are NaN, signs stay."""
    found = [read(f.cells) for f in frames if f.cells is not None]
    values = np.array(found, dtype=np.float64).reshape(len(found), num_cells)
    return np.where(np.isfinite(values), values, np.nan)


def mean_over_time(values: Float64[NDArray[np.float64], "frames n"]) -> Float64[NDArray[np.float64], " n"]:
    """Mean of what was reported; NaN where nothing was."""
    known = ~np.isnan(values)
    number = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def sum_over_time(values: Float64[NDArray[np.float64], "frames n"]) -> Float64[NDArray[np.float64], " n"]:
    """Sum of what was reported; NaN where nothing was."""
    known = ~np.isnan(values)
    return np.where(known.any(axis=0), np.where(known, values, 0.0).sum(axis=0), np.nan)


def last_over_time(values: Float64[NDArray[np.float64], "frames n"]) -> Float64[NDArray[np.float64], " n"]:
    """The newest reported value; NaN where nothing was."""
    if not len(values):
        return np.full(values.shape[1], np.nan)
    # The first known value from behind; a column without any ends at its last row, which is NaN.
    behind = np.argmax(~np.isnan(values[::-1]), axis=0)
    return np.asarray(values[::-1][behind, np.arange(values.shape[1])])


def _believable(values: Float64[NDArray[np.float64], "frames n"]) -> Float64[NDArray[np.float64], "frames n"]:
    # NaN compares false; no counter of one period reaches the ceiling.
    return np.where((values >= 0) & (values <= _MOST_COUNTED), values, np.nan)


def _totals(group: PerRowIndex, values: PerRow, num_groups: int) -> PerGroup:
    return np.bincount(group, weights=values, minlength=num_groups).astype(np.float64, copy=False)


def _known(values: PerRow, default: float) -> PerRow:
    return np.where(np.isnan(values), default, values)


def _in_time_guess(served: PerRow, delay_ms: PerRow, budget_ms: PerRow) -> PerRow:
    """Bits in time if sojourns are exponential around their mean, as in an M/M/1 queue."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        share = np.where(delay_ms > 0, -np.expm1(-budget_ms / delay_ms), 1.0)
    return served * share


def _delay_histogram(rows: Rows, delay_ms: PerRow, served_bits: PerRow, num_groups: int) -> DelayCounts:
    num_bins = len(DELAY_BIN_EDGES_MS)
    known = ~np.isnan(delay_ms) & (served_bits > 0)
    bins = np.searchsorted(DELAY_BIN_EDGES_MS, delay_ms[known], side="right") - 1
    flat = _totals(rows.group[known] * num_bins + bins, served_bits[known], num_groups * num_bins)
    return flat.reshape(num_groups, num_bins)


def _shannon_mean(rows: Rows, prb_khz: PerGroup) -> PerGroup:
    sinr = rows.columns["sinr_db"]
    known = ~np.isnan(sinr)
    group = rows.group[known]
    bits_per_hz = np.minimum(_SHANNON_SHARE * np.log2(1.0 + 10.0 ** (sinr[known] / 10.0)), _MAX_BITS_PER_HZ)
    total = np.bincount(group, weights=bits_per_hz, minlength=len(prb_khz))
    number = np.bincount(group, minlength=len(prb_khz))
    return np.where(number > 0, prb_khz * total / np.maximum(number, 1), np.nan)
