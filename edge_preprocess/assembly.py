"""An interval's figures as EdgeDigests: fixed units, quantised, one per cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_preprocess.digest import DataQuality, EdgeDigest, LogEvent, NeighbourDigest, SliceDigest
from edge_preprocess.watch import MAX_ANOMALIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_preprocess.digest import Anomaly
    from edge_preprocess.estimates import CellEstimates, SliceEstimates
    from edge_preprocess.windows import PerGroup
    from telemetry_sim.topology import Topology

_SIGNIFICANT_DIGITS = 4
_MAX_EVENTS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """All that is known about one interval, for every cell."""

    start_s: float
    end_s: float
    slices: SliceEstimates
    cells: CellEstimates
    forecast_kbps: PerGroup
    deviation_kbps: PerGroup
    forecast_tasks: PerGroup
    quality: Sequence[DataQuality]
    events: Sequence[Mapping[str, int]]
    """Named log counters per cell."""
    anomalies: Sequence[tuple[Anomaly, ...]]
    sla_risk: PerGroup | None = None


class Assembler:
    """Builds digests; knows the topology and nothing of the past."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._index_of = {cell.id: index for index, cell in enumerate(topology.cells)}

    def digests(self, interval: Interval) -> tuple[EdgeDigest, ...]:
        """One per cell, in the topology's order."""
        return tuple(self._digest_of(index, interval) for index in range(len(self._topology.cells)))

    def _digest_of(self, index: int, interval: Interval) -> EdgeDigest:
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
            anomalies=interval.anomalies[index][:MAX_ANOMALIES],
            events=_log_events(interval.events[index]),
            quality=interval.quality[index],
            left_out=_left_out(interval.anomalies[index], interval.events[index]),
        )

    def _slice_digest(self, cell: int, order: int, interval: Interval) -> SliceDigest:
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
            sla_risk=None if interval.sla_risk is None else round(float(interval.sla_risk[group]), 3),
        )

    def _neighbours(self, index: int, cells: CellEstimates) -> tuple[NeighbourDigest, ...]:
        found = []
        for cell_id in self._topology.cells[index].neighbours:
            other = self._index_of[cell_id]
            utilisation = min(float(cells.prb_used[other]) / self._topology.cells[other].num_prb, 1.0)
            is_up = bool(cells.is_up[other] >= 0.5)
            found.append(NeighbourDigest(cell=cell_id, prb_utilisation=round(utilisation, 3), is_up=is_up))
        return tuple(found)


def _left_out(anomalies: Sequence[Anomaly], events: Mapping[str, int]) -> tuple[str, ...]:
    """Fixed words for what the bounds of a digest dropped."""
    dropped = {"anomalies": len(anomalies) > MAX_ANOMALIES, "events": len(events) > _MAX_EVENTS}
    return tuple(word for word, is_dropped in dropped.items() if is_dropped)


def _log_events(counts: Mapping[str, int]) -> tuple[LogEvent, ...]:
    """The most frequent named counters, ties by name."""
    ranked = sorted(
        ((name, count) for name, count in counts.items() if count > 0), key=lambda item: (-item[1], item[0])
    )
    return tuple(LogEvent(name=name, count=count) for name, count in ranked[:_MAX_EVENTS])


def _rounded(value: float, digits: int = _SIGNIFICANT_DIGITS) -> float:
    """Quantised to significant digits, so that noise in the last bits changes no digest."""
    return float(f"{value:.{digits}g}")
