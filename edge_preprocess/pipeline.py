"""Frames and log lines of an interval in, one EdgeDigest per cell out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_preprocess import windows
from edge_preprocess.device_memory import DeviceMemory
from edge_preprocess.digest import DataQuality, EdgeDigest, NeighbourDigest, SliceDigest
from edge_preprocess.estimates import Estimator
from edge_preprocess.forecast import Forecaster
from edge_preprocess.intake import take_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_preprocess.estimates import CellEstimates, SliceEstimates
    from edge_preprocess.intake import Intake
    from edge_preprocess.windows import PerGroup
    from telemetry_sim.records import LogRecord, TelemetryFrame
    from telemetry_sim.topology import Topology

_SIGNIFICANT_DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Interval:
    start_s: float
    end_s: float
    slices: SliceEstimates
    cells: CellEstimates
    forecast_kbps: PerGroup
    deviation_kbps: PerGroup
    forecast_tasks: PerGroup


class EdgePipeline:
    """One per network or per cell; keeps a state per cell, so equal inputs in equal order give equal digests."""

    def __init__(self, topology: Topology, *, interval_s: float = 10.0) -> None:
        self._topology = topology
        self._interval_s = interval_s
        num_groups = len(topology.cells) * len(topology.slices)
        self._estimator = Estimator(topology)
        self._devices = DeviceMemory()
        self._demand = Forecaster(num_groups)
        self._tasks = Forecaster(num_groups)
        self._index_of = {cell.id: index for index, cell in enumerate(topology.cells)}
        self._end_s = float("-inf")
        self.quarantine_reasons: Counter[str] = Counter()
        """Rows refused so far, by reason."""

    def digest(self, frames: Sequence[TelemetryFrame], logs: Sequence[LogRecord]) -> tuple[EdgeDigest, ...]:
        """What each cell's edge node says about the interval that the frames cover, in the topology's order."""
        del logs
        intake = take_in(frames, self._topology, after_s=self._end_s)
        self.quarantine_reasons.update(intake.reasons)
        start_s, end_s = self._bounds(intake)
        duration_s = sum(frame.period_s for frame in intake.frames) or self._interval_s
        interval = self._measure(intake, start_s, end_s, duration_s)
        quality = self._quality(intake, end_s)
        self._end_s = end_s
        return tuple(self._digest_of(index, interval, quality[index]) for index in range(len(self._topology.cells)))

    def _bounds(self, intake: Intake) -> tuple[float, float]:
        if intake.frames:
            first = intake.frames[0]
            return max(first.time_s - first.period_s, 0.0), intake.frames[-1].time_s
        start_s = max(self._end_s, 0.0)
        return start_s, start_s + self._interval_s

    def _measure(self, intake: Intake, start_s: float, end_s: float, duration_s: float) -> _Interval:
        rows = intake.rows
        statistics = windows.row_statistics(
            rows,
            self._devices.offered_bits(rows),
            covered_s=rows.period_s,
            budgets_ms=self._estimator.budgets_ms,
            prb_khz=self._estimator.prb_khz,
        )
        self._devices.remember(rows, end_s)
        slices = self._estimator.slices(statistics, intake.frames, duration_s)
        silence = np.full_like(slices.demand_kbps, np.nan)
        self._demand.learn(slices.demand_kbps if intake.frames else silence)
        self._tasks.learn(slices.tasks_per_s if intake.frames else silence)
        return _Interval(
            start_s=start_s,
            end_s=end_s,
            slices=slices,
            cells=self._estimator.cells(intake.frames, slices, duration_s),
            forecast_kbps=self._demand.next_value(),
            deviation_kbps=self._demand.deviation(),
            forecast_tasks=self._tasks.next_value(),
        )

    def _quality(self, intake: Intake, end_s: float) -> tuple[DataQuality, ...]:
        num_slices = len(self._topology.slices)
        oldest_s = end_s - self._interval_s + 1e-6
        stale = intake.rows.group[intake.rows.time_s <= oldest_s] // num_slices
        num_stale = np.bincount(stale, minlength=len(self._topology.cells))
        return tuple(
            DataQuality(
                rows_received=int(received),
                rows_accepted=int(received - quarantined),
                rows_quarantined=int(quarantined),
                rows_stale=int(old),
            )
            for received, quarantined, old in zip(intake.received, intake.quarantined, num_stale, strict=True)
        )

    def _digest_of(self, index: int, interval: _Interval, quality: DataQuality) -> EdgeDigest:
        site, cells = self._topology.cells[index], interval.cells
        interference = float(cells.interference_dbm[index])
        return EdgeDigest(
            cell=site.id,
            start_s=_rounded(interval.start_s, 10),
            end_s=_rounded(interval.end_s, 10),
            num_prb=site.num_prb,
            prb_used=_rounded(cells.prb_used[index]),
            interference_dbm=round(interference, 1) if np.isfinite(interference) else None,
            tx_power_step_db=round(float(cells.tx_power_step_db[index])),
            is_asleep=bool(cells.is_asleep[index] >= 0.5),
            is_up=bool(cells.is_up[index] >= 0.5),
            edge_cpu_ghz=site.edge_cpu_ghz,
            edge_utilisation=_rounded(cells.edge_utilisation[index]),
            backhaul_mbps=site.backhaul_mbps,
            backhaul_utilisation=_rounded(cells.backhaul_utilisation[index]),
            backhaul_delay_ms=_rounded(cells.backhaul_delay_ms[index]),
            energy_w=_rounded(cells.energy_w[index]),
            num_handovers=round(float(cells.num_handovers[index])),
            num_handover_failures=round(float(cells.num_handover_failures[index])),
            policy_version=round(float(cells.policy_version[index])),
            slices=tuple(self._slice_digest(index, order, interval) for order in range(len(self._topology.slices))),
            neighbours=self._neighbours(index, cells),
            quality=quality,
        )

    def _slice_digest(self, cell: int, order: int, interval: _Interval) -> SliceDigest:
        profile, values = self._topology.slices[order], interval.slices
        group = cell * len(self._topology.slices) + order
        return SliceDigest(
            slice=profile.id,
            num_devices=round(float(values.num_devices[group])),
            demand_kbps=_rounded(values.demand_kbps[group]),
            served_kbps=_rounded(values.served_kbps[group]),
            in_time_ratio=_rounded(values.in_time_ratio[group]),
            backlog_kbit=_rounded(values.backlog_kbit[group]),
            delay_p95_ms=_rounded(values.delay_p95_ms[group]),
            delay_budget_ms=profile.delay_budget_ms,
            prb_used=_rounded(values.prb_used[group]),
            kbps_per_prb=_rounded(values.kbps_per_prb[group]),
            packet_size_bits=profile.packet_size_bits,
            forecast_demand_kbps=_rounded(interval.forecast_kbps[group]),
            forecast_deviation_kbps=_rounded(interval.deviation_kbps[group]),
            num_refused=round(float(values.num_refused[group])),
            tasks_per_s=_rounded(values.tasks_per_s[group]),
            task_megacycles=_rounded(values.task_megacycles[group]),
            task_deadline_ms=profile.task_deadline_ms,
            tasks_in_time_ratio=_rounded(values.tasks_in_time_ratio[group]),
            forecast_tasks_per_s=_rounded(interval.forecast_tasks[group]),
        )

    def _neighbours(self, index: int, cells: CellEstimates) -> tuple[NeighbourDigest, ...]:
        found = []
        for cell_id in self._topology.cells[index].neighbours:
            other = self._index_of[cell_id]
            utilisation = min(float(cells.prb_used[other]) / self._topology.cells[other].num_prb, 1.0)
            is_up = bool(cells.is_up[other] >= 0.5)
            found.append(NeighbourDigest(cell=cell_id, prb_utilisation=round(utilisation, 3), is_up=is_up))
        return tuple(found)


def _rounded(value: float, digits: int = _SIGNIFICANT_DIGITS) -> float:
    """Quantised to significant digits, so that noise in the last bits changes no digest."""
    return float(f"{value:.{digits}g}")
