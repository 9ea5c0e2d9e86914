"""From an interval's rows and counters to one believable figure per cell and slice, gaps filled from what is known.

Shapes: C cells, S slices, G = C * S groups.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_preprocess import windows
from edge_preprocess.windows import PerCell, PerGroup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_preprocess.windows import DelayCounts, RowStatistics
    from telemetry_sim.records import TelemetryFrame
    from telemetry_sim.topology import Topology

_DEFAULT_BITS_PER_HZ = 2.0
"""Truncated Shannon bound at 10 dB, until anything is measured."""
_PRIOR_PRB_SECONDS = 0.1
"""A measured efficiency counts as much as the prior at this use."""
_CALIBRATION_WEIGHT = 0.3
_CALIBRATION_BOUNDS = (0.2, 5.0)
_MAX_SCALE = 120.0
_NEARLY_ALL = 1.2
_CLEARLY_MORE = 1.2
_NO_INTERFERENCE_DBM = -150.0
_MIN_TASKS_FOR_MEAN = 30.0
_WORTH_CORRECTING = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceEstimates:
    """One entry per group; units as in SliceDigest."""

    num_devices: PerGroup
    demand_kbps: PerGroup
    served_kbps: PerGroup
    in_time_ratio: PerGroup
    backlog_kbit: PerGroup
    delay_p95_ms: PerGroup
    prb_used: PerGroup
    kbps_per_prb: PerGroup
    num_refused: PerGroup
    tasks_per_s: PerGroup
    task_megacycles: PerGroup
    tasks_in_time_ratio: PerGroup
    claim_ratio: PerGroup
    """What the devices say was offered over what the cell counted; 1 where either is missing or only samples came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellEstimates:
    """One entry per cell; units as in EdgeDigest."""

    prb_used: PerCell
    interference_dbm: PerCell
    """NaN where unknown."""
    tx_power_step_db: PerCell
    is_asleep: PerCell
    is_up: PerCell
    edge_utilisation: PerCell
    backhaul_utilisation: PerCell
    backhaul_delay_ms: PerCell
    energy_w: PerCell
    num_handovers: PerCell
    num_handover_failures: PerCell
    policy_version: PerCell


_LOSSLESS = 0.9
"""Part of the offered bits that must have been served for goodput per PRB to measure the link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Volumes:
    """Totals of the interval per group."""

    offered_bits: PerGroup
    served_bits: PerGroup
    in_time_bits: PerGroup
    prb_seconds: PerGroup
    claim_ratio: PerGroup


class Estimator:
    """Turns intervals into estimates; remembers what fills the next interval's gaps."""

    def __init__(self, topology: Topology) -> None:
        self._num_cells, self._num_slices = len(topology.cells), len(topology.slices)
        num_groups = self._num_cells * self._num_slices
        self.budgets_ms: PerGroup = np.tile([p.delay_budget_ms for p in topology.slices], self._num_cells)
        self.prb_khz: PerGroup = np.repeat([c.prb_khz for c in topology.cells], self._num_slices)
        self._declared_megacycles: PerGroup = np.tile([p.task_megacycles for p in topology.slices], self._num_cells)
        self._kbps_per_prb: PerGroup = np.full(num_groups, np.nan)
        self._calibration: PerGroup = np.ones(num_groups)
        self._device_bps: PerGroup = np.zeros(num_groups)
        self._latest: SliceEstimates | None = None

    def slices(self, statistics: RowStatistics, frames: Sequence[TelemetryFrame], duration_s: float) -> SliceEstimates:
        """Estimates of an interval of `duration_s`; an interval without a frame repeats the one before."""
        if not frames and self._latest is not None:
            return self._latest
        tasks = self._tasks(frames, duration_s)
        radio = self._radio(statistics, frames, duration_s)
        self._latest = replace(radio, **tasks)
        return self._latest

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything needed to go on after a restart."""
        found: dict[str, NDArray[np.generic]] = {
            "kbps_per_prb": self._kbps_per_prb,
            "calibration": self._calibration,
            "device_bps": self._device_bps,
        }
        if self._latest is not None:
            found.update({f"latest_{f.name}": getattr(self._latest, f.name) for f in fields(SliceEstimates)})
        return found

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from `state`."""
        self._kbps_per_prb, self._calibration, self._device_bps = (
            np.array(state[name], dtype=np.float64) for name in ("kbps_per_prb", "calibration", "device_bps")
        )
        if "latest_num_devices" in state:
            latest = {f.name: np.array(state[f"latest_{f.name}"], dtype=np.float64) for f in fields(SliceEstimates)}
            self._latest = SliceEstimates(**latest)

    def cells(self, frames: Sequence[TelemetryFrame], slices: SliceEstimates, duration_s: float) -> CellEstimates:
        """The cells' own counters, with neutral values where the source has none."""

        def counter(name: str) -> NDArray[np.float64]:
            return windows.cell_counter(frames, lambda c: getattr(c, name), num_cells=self._num_cells)

        def mean(name: str) -> PerCell:
            return _or(windows.mean_over_time(counter(name)), 0.0)

        used = windows.mean_over_time(counter("prb_used"))
        by_slice = slices.prb_used.reshape(self._num_cells, self._num_slices).sum(axis=1)
        interference = windows.mean_over_time(10.0 ** (np.clip(counter("interference_dbm"), -200.0, 60.0) / 10.0))
        with np.errstate(divide="ignore"):
            interference_dbm = 10.0 * np.log10(interference)
        return CellEstimates(
            prb_used=np.maximum(np.where(np.isnan(used), by_slice, used), 0.0),
            interference_dbm=np.where(interference_dbm < _NO_INTERFERENCE_DBM, np.nan, interference_dbm),
            tx_power_step_db=_or(windows.last_over_time(counter("tx_power_step_db")), 0.0),
            is_asleep=_or(windows.last_over_time(counter("is_asleep")), 0.0),
            is_up=_or(windows.last_over_time(counter("is_up")), 1.0),
            edge_utilisation=np.clip(mean("edge_utilisation"), 0.0, 1.0),
            backhaul_utilisation=np.clip(mean("backhaul_utilisation"), 0.0, 1.0),
            backhaul_delay_ms=np.maximum(mean("backhaul_delay_ms"), 0.0),
            energy_w=np.maximum(_or(windows.sum_over_time(counter("energy_j")), 0.0), 0.0) / duration_s,
            num_handovers=np.maximum(_or(windows.sum_over_time(counter("num_handovers")), 0.0), 0.0),
            num_handover_failures=np.maximum(_or(windows.sum_over_time(counter("num_handover_failures")), 0.0), 0.0),
            policy_version=np.maximum(_or(windows.last_over_time(counter("policy_version")), 0.0), 0.0),
        )

    def _radio(self, rows: RowStatistics, frames: Sequence[TelemetryFrame], duration_s: float) -> SliceEstimates:
        volumes = self._volumes(rows, frames, duration_s)
        to_kbps = 1.0 / duration_s / 1000.0
        counted = self._counter(frames, "num_devices")
        at_end = _or_other(windows.last_over_time(counted), rows.num_devices)
        per_device = np.divide(at_end, rows.num_devices, out=np.ones_like(at_end), where=rows.num_devices > 0)
        offered = volumes.offered_bits
        with np.errstate(over="ignore"):
            in_time = np.divide(volumes.in_time_bits, offered, out=np.ones_like(offered), where=offered > 0)
        return SliceEstimates(
            num_devices=at_end,
            demand_kbps=offered * to_kbps,
            served_kbps=volumes.served_bits * to_kbps,
            in_time_ratio=np.clip(in_time, 0.0, 1.0),
            # Devices that exaggerate what they are sent exaggerate what waits for them, too.
            backlog_kbit=rows.backlog_bits * np.clip(per_device, 1.0, _MAX_SCALE) / volumes.claim_ratio / 1000.0,
            delay_p95_ms=self._delay_p95(rows, frames, duration_s),
            prb_used=volumes.prb_seconds / duration_s,
            kbps_per_prb=self._efficiency(volumes, rows.shannon_kbps_per_prb),
            num_refused=_or(windows.last_over_time(self._counter(frames, "num_refused")), 0.0),
            tasks_per_s=np.zeros_like(offered),
            task_megacycles=self._declared_megacycles,
            tasks_in_time_ratio=np.ones_like(offered),
            claim_ratio=volumes.claim_ratio,
        )

    def _volumes(self, rows: RowStatistics, frames: Sequence[TelemetryFrame], duration_s: float) -> _Volumes:
        """The cell's own counts where it has them, else the rows' sums made to speak for the silent devices too."""
        present = windows.mean_over_time(self._counter(frames, "num_devices"))
        scale = _scale_to_all(rows.covered_s, present * duration_s)
        num_present = np.where(np.isnan(present), rows.num_devices, present)
        silent = (rows.covered_s == 0) & (num_present > 0)
        offered = np.where(silent, self._device_bps * num_present * duration_s, rows.offered_bits * scale)
        heard = (rows.covered_s > 0) & (num_present > 0)
        device_bps = offered / duration_s / np.maximum(num_present, 1e-9)
        self._device_bps = np.where(heard, device_bps, self._device_bps)
        used = windows.mean_over_time(self._counter(frames, "prb_used")) * duration_s

        def counted(name: str, otherwise: PerGroup) -> PerGroup:
            return _or_other(windows.sum_over_time(self._counter(frames, name)), otherwise)

        counted_offered = counted("offered_bits", offered)
        return _Volumes(
            offered_bits=counted_offered,
            claim_ratio=_claim_ratio(rows.offered_bits, counted_offered, scale),
            served_bits=counted("served_bits", rows.served_bits * scale),
            in_time_bits=counted("in_time_bits", rows.in_time_bits * scale),
            prb_seconds=_or_other(used, rows.prb_seconds * scale),
        )

    def _tasks(self, frames: Sequence[TelemetryFrame], duration_s: float) -> dict[str, PerGroup]:
        offered = _or(windows.sum_over_time(self._counter(frames, "tasks_offered")), 0.0)
        in_time = _or(windows.sum_over_time(self._counter(frames, "tasks_in_time")), 0.0)
        cycles = _or(windows.sum_over_time(self._counter(frames, "edge_cycles_offered")), 0.0)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ratio = np.where(offered > 0, np.clip(in_time / offered, 0.0, 1.0), 1.0)
            # Tasks kept on the device or sent to the cloud bring no cycles here, so this is a lower bound of the mean.
            at_least = np.where(offered >= _MIN_TASKS_FOR_MEAN, cycles / offered / 1e6, 0.0)
        heavier = at_least > _WORTH_CORRECTING * self._declared_megacycles
        return {
            "tasks_per_s": offered / duration_s,
            "tasks_in_time_ratio": ratio,
            "task_megacycles": np.where(heavier, at_least, self._declared_megacycles),
        }

    def _delay_p95(self, rows: RowStatistics, frames: Sequence[TelemetryFrame], duration_s: float) -> PerGroup:
        counts = self._delay_counts(frames, rows.delay_counts)
        delay = windows.delay_quantile_ms(counts, 0.95)
        # What waits while nothing is served has waited for the interval at least.
        starved = np.where(rows.backlog_bits > 0, 1000.0 * duration_s, 0.0)
        return np.where(np.isnan(delay), starved, delay)

    def _delay_counts(self, frames: Sequence[TelemetryFrame], from_rows: DelayCounts) -> DelayCounts:
        total = np.zeros(from_rows.shape, dtype=np.int64)
        for frame in frames:
            if frame.slices is not None:
                counts = frame.slices.delay_counts.reshape(len(total), -1)
                # Some sources leave out the last, open bin.
                total[:, : counts.shape[1]] += counts
        own = np.maximum(total, 0).astype(np.float64)
        return np.where(own.sum(axis=1, keepdims=True) > 0, own, from_rows)

    def _efficiency(self, volumes: _Volumes, shannon_kbps: PerGroup) -> PerGroup:
        """Measured rate of a PRB, leaning on SINR or the last known value the less was measured."""
        served, prb_seconds = volumes.served_bits, volumes.prb_seconds
        usable = (prb_seconds > 1e-6) & (served > 0)
        measured = np.divide(served, 1000.0 * prb_seconds, out=np.zeros_like(served), where=usable)
        # PRBs spent on packets that were then discarded brought no bits: under losses goodput says little of the link.
        is_lossless = served >= _LOSSLESS * volumes.offered_bits
        ratio = np.where(usable, measured / shannon_kbps, np.nan)
        enough = ~np.isnan(ratio) & is_lossless & (prb_seconds > 10 * _PRIOR_PRB_SECONDS)
        step = _CALIBRATION_WEIGHT * (np.clip(np.where(enough, ratio, 1.0), *_CALIBRATION_BOUNDS) - self._calibration)
        prior = self._prior_efficiency(shannon_kbps * self._calibration)
        weight = np.where(usable, prb_seconds / (prb_seconds + _PRIOR_PRB_SECONDS), 0.0)
        weight = np.where(is_lossless | np.isnan(shannon_kbps), weight, 0.0)
        self._calibration = np.where(enough, self._calibration + step, self._calibration)
        estimate = np.where(usable, weight * measured + (1 - weight) * prior, prior)
        self._kbps_per_prb = np.where(usable | ~np.isnan(shannon_kbps), estimate, self._kbps_per_prb)
        return estimate

    def _prior_efficiency(self, from_sinr: PerGroup) -> PerGroup:
        """From SINR, else the last known value, else the cell's other slices, else a default."""
        known = np.where(np.isnan(from_sinr), self._kbps_per_prb, from_sinr)
        by_cell = windows.mean_over_time(known.reshape(self._num_cells, self._num_slices).T)
        known = np.where(np.isnan(known), np.repeat(by_cell, self._num_slices), known)
        return np.where(np.isnan(known), _DEFAULT_BITS_PER_HZ * self.prb_khz, known)

    def _counter(self, frames: Sequence[TelemetryFrame], name: str) -> NDArray[np.float64]:
        num_groups = self._num_cells * self._num_slices
        return windows.slice_counter(frames, lambda s: getattr(s, name), num_groups=num_groups)


def _or(values: NDArray[np.float64], default: float) -> NDArray[np.float64]:
    return np.where(np.isnan(values), default, values)


def _or_other(values: PerGroup, other: PerGroup) -> PerGroup:
    return np.where(np.isnan(values), other, values)


def _claim_ratio(claimed_bits: PerGroup, counted_bits: PerGroup, scale: PerGroup) -> PerGroup:
    """Devices' word over the cell's count, where every device was heard and the difference is not just noise."""
    usable = (scale < _NEARLY_ALL) & (counted_bits > 0)
    ratio = np.divide(claimed_bits, counted_bits, out=np.ones_like(counted_bits), where=usable)
    return np.where(ratio > _CLEARLY_MORE, ratio, 1.0)


def _scale_to_all(covered_s: PerGroup, present_s: PerGroup) -> PerGroup:
    """What the rows' sums are multiplied by so that they speak for every device present, silent ones included."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where((covered_s > 0) & ~np.isnan(present_s), present_s / covered_s, 1.0)
    return np.clip(scale, 1.0, _MAX_SCALE)
