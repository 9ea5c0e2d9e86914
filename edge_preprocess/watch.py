"""What stands out in an interval: rules for what can only be a fault, detectors for what is merely unusual.

Shapes: C cells, S slices, G = C * S groups.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edge_preprocess import windows
from edge_preprocess.detectors import ALARM
from edge_preprocess.digest import Anomaly, AnomalyKind
from edge_preprocess.ewma import EwmaConfig, EwmaDetector
from edge_preprocess.log_counters import LogCounter
from telemetry_sim.records import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from edge_preprocess.estimates import CellEstimates, SliceEstimates
    from edge_preprocess.sensor_watch import SensorFinding
    from edge_preprocess.windows import PerCell, PerGroup
    from telemetry_sim.topology import SliceId, Topology

MAX_ANOMALIES = 8
_MANY_SENSORS, _MANY_SHARE = 5, 0.2
"""A group of sensors that fails together is more than a broken sensor."""
_ORDER = (Severity.CRITICAL, Severity.MAJOR, Severity.MINOR, Severity.WARNING)
_DEVICE_RESTARTS = "device_restart"
_LOG_SIGNS: dict[str, tuple[AnomalyKind, Severity, int]] = {
    _DEVICE_RESTARTS: (AnomalyKind.LOG, Severity.MAJOR, 3),
    LogCounter.CELL_OUTAGE: (AnomalyKind.RADIO, Severity.CRITICAL, 1),
    LogCounter.INTERFERENCE: (AnomalyKind.RADIO, Severity.MAJOR, 2),
    LogCounter.BACKHAUL_LOSS: (AnomalyKind.BACKHAUL, Severity.MAJOR, 1),
    LogCounter.NODE_RESTART: (AnomalyKind.COMPUTE, Severity.MAJOR, 1),
    LogCounter.PROCESS_CRASH: (AnomalyKind.COMPUTE, Severity.MAJOR, 1),
    LogCounter.POWER_FAULT: (AnomalyKind.LOG, Severity.MAJOR, 1),
    LogCounter.OOM: (AnomalyKind.COMPUTE, Severity.WARNING, 1),
    LogCounter.OVERHEATING: (AnomalyKind.RADIO, Severity.WARNING, 1),
    LogCounter.PACKET_LOSS: (AnomalyKind.BACKHAUL, Severity.WARNING, 1),
    LogCounter.LINK_FLAP: (AnomalyKind.BACKHAUL, Severity.WARNING, 1),
    LogCounter.DISK_FAULT: (AnomalyKind.COMPUTE, Severity.WARNING, 1),
    LogCounter.AUTH_FAILURE: (AnomalyKind.LOG, Severity.WARNING, 3),
    LogCounter.CONFIG_REJECTED: (AnomalyKind.LOG, Severity.WARNING, 1),
}
"""What lines tell of, how grave it is, and how many in two intervals score 0.5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchConfig:
    """One setting for every network."""

    detector: EwmaConfig = field(default_factory=lambda: EwmaConfig(weight=0.1, num_before_use=12, threshold=6.0))
    starved_share: float = 0.5
    """Part of the offered CPU cycles below which an idle edge node counts as failed."""
    busy_utilisation: float = 0.8
    """An edge node above this is overloaded, not failed."""
    backhaul_factor: float = 2.5
    """Backhaul delay over its usual one that scores 0.5; load well below the link's capacity doubles it."""
    busy_backhaul: float = 0.8
    """A link with this part of its capacity in demand is overloaded, not failed."""
    interference_rise_db: float = 5.5
    """Over the usual that scores 0.5."""
    efficiency_left: float = 0.6
    """Mean rate of a PRB over its usual one, across the slices, that scores 0.5."""
    claim_ratio: float = 1.5
    """Devices' word about their demand over the cell's count that scores 0.5."""
    least_demand_factor: float = 1.5
    """Smaller surges are not worth a word, however certain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One interval's figures as the watch needs them."""

    start_s: float
    end_s: float
    slices: SliceEstimates
    cells: CellEstimates
    edge_cycles_offered: PerCell
    edge_cycles_used: PerCell
    """NaN where the source does not count cycles."""
    sensors: Sequence[SensorFinding]
    infrastructure_events: Sequence[Mapping[LogCounter, int]]
    """Per cell, from the gNB's and the gateway's lines."""
    device_events: Sequence[Mapping[LogCounter, int]]
    """Per cell, from the devices' own lines: a storm of restarts is the only alarm that these can raise."""


class Watch:
    """Keeps what is usual of every cell and slice."""

    def __init__(self, topology: Topology, config: WatchConfig | None = None) -> None:
        self._topology = topology
        self._config = config or WatchConfig()
        num_groups = len(topology.cells) * len(topology.slices)
        self._demand = EwmaDetector(num_groups, self._config.detector)
        self._radio = EwmaDetector(num_groups, self._config.detector)
        self._delay = EwmaDetector(num_groups, self._config.detector)
        self._words_before: list[Counter[str]] = [Counter() for _ in topology.cells]
        self._usual_backhaul_ms: PerCell = np.array([cell.backhaul_ms for cell in topology.cells])
        self._usual_interference_dbm: PerCell = np.full(len(topology.cells), np.nan)
        self._num_looks: PerCell = np.zeros(len(topology.cells))
        self._backhaul_kbps: PerCell = np.array([1000.0 * cell.backhaul_mbps for cell in topology.cells])
        self._usual_kbps: PerGroup = np.full(num_groups, np.nan)
        self._usual_log_kbps_per_prb: PerGroup = np.full(num_groups, np.nan)

    def look(self, sighting: Sighting) -> tuple[tuple[Anomaly, ...], ...]:
        """Anomalies per cell, worst first, all of them; then learns the interval."""
        found: list[list[Anomaly]] = [[] for _ in self._topology.cells]
        for cell, anomaly in self._faults(sighting):
            found[cell].append(anomaly)
        for cell, anomaly in self._words(sighting):
            found[cell].append(anomaly)
        for cell, anomaly in _sensor_faults(sighting):
            found[cell].append(anomaly)
        for cell, anomaly in self._news(sighting):
            found[cell].append(anomaly)
        self._learn_usual(sighting)
        return tuple(tuple(_worst_first(anomalies)) for anomalies in found)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything needed to go on after a restart."""
        found: dict[str, NDArray[np.generic]] = {name: getattr(self, f"_{name}") for name in self._USUAL}
        found["words"] = np.frombuffer(json.dumps(self._words_before).encode(), dtype=np.uint8)
        for name in self._DETECTORS:
            found.update({f"{name}_{part}": values for part, values in getattr(self, f"_{name}").state().items()})
        return found

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from `state`."""
        self._words_before = [Counter(words) for words in json.loads(state["words"].tobytes())]
        for name in self._USUAL:
            setattr(self, f"_{name}", np.array(state[name], dtype=np.float64))
        for name in self._DETECTORS:
            detector: EwmaDetector = getattr(self, f"_{name}")
            detector.restore({part: state[f"{name}_{part}"] for part in detector.state()})

    _USUAL = ("num_looks", "usual_backhaul_ms", "usual_interference_dbm", "usual_kbps", "usual_log_kbps_per_prb")
    _DETECTORS = ("demand", "radio", "delay")

    def _faults(self, sighting: Sighting) -> Iterator[tuple[int, Anomaly]]:
        """What can only be a fault, by the cells' own counters and the infrastructure's logs."""
        scores = {
            (AnomalyKind.RADIO, Severity.CRITICAL, "outage"): np.where(sighting.cells.is_up < 0.5, 1.0, 0.0),
            (AnomalyKind.COMPUTE, Severity.CRITICAL, "cpu"): self._starved(sighting),
            (AnomalyKind.BACKHAUL, Severity.MAJOR, "delay"): self._congested(sighting),
            (AnomalyKind.RADIO, Severity.MAJOR, "noise"): np.minimum(
                self._disturbed(sighting), self._worsened(sighting.slices)
            ),
        }
        for (kind, severity, stream), score in scores.items():
            for place in np.flatnonzero(score >= ALARM):
                yield int(place), _anomaly(kind, severity, score[place], stream, int(place), sighting)

    def _words(self, sighting: Sighting) -> Iterator[tuple[int, Anomaly]]:
        """What the logs tell of; a sign counts together with the interval before."""
        restarts = [{_DEVICE_RESTARTS: events.get(LogCounter.NODE_RESTART, 0)} for events in sighting.device_events]
        for cell, (site, devices) in enumerate(zip(sighting.infrastructure_events, restarts, strict=True)):
            now: Counter[str] = Counter({str(counter): count for counter, count in site.items()}) + Counter(devices)
            for sign, count in now.items():
                if sign in _LOG_SIGNS:
                    kind, severity, number = _LOG_SIGNS[sign]
                    score = 1.0 - 2.0 ** (-(count + self._words_before[cell][sign]) / number)
                    if score >= ALARM:
                        yield cell, _anomaly(kind, severity, score, f"log.{sign}", cell, sighting)
            self._words_before[cell] = now

    def _news(self, sighting: Sighting) -> Iterator[tuple[int, Anomaly]]:
        """What is unusual for the slice."""
        slices = sighting.slices
        demand, radio, delay = self._streams(slices)
        budget_ms = np.tile([p.delay_budget_ms for p in self._topology.slices], len(self._topology.cells))
        surge = slices.demand_kbps > self._config.least_demand_factor * self._usual_kbps
        checks = (
            (AnomalyKind.DEMAND, Severity.MINOR, np.where(surge, self._demand.score_many(demand), 0.0)),
            (AnomalyKind.RADIO, Severity.WARNING, self._radio.score_many(radio)),
            (AnomalyKind.DEMAND, Severity.MAJOR, _score(slices.claim_ratio - 1.0, self._config.claim_ratio - 1.0)),
            (
                AnomalyKind.DELAY,
                Severity.MINOR,
                np.where(slices.delay_p95_ms > budget_ms, self._delay.score_many(delay), 0.0),
            ),
        )
        num_slices = len(self._topology.slices)
        for kind, severity, score in checks:
            for group in np.flatnonzero(score >= ALARM):
                cell, order = divmod(int(group), num_slices)
                slice_id = self._topology.slices[order].id
                yield cell, _anomaly(kind, severity, score[group], str(slice_id), cell, sighting, slice_id)
        for values, detector in ((demand, self._demand), (radio, self._radio), (delay, self._delay)):
            detector.learn_many(values)

    def _streams(self, slices: SliceEstimates) -> tuple[PerGroup, PerGroup, PerGroup]:
        """Logarithms, so that a doubling counts alike at every level; NaN where there is nothing to tell."""
        served = slices.served_kbps > 0
        return (
            np.log1p(slices.demand_kbps),
            np.where(served, np.log(np.maximum(slices.kbps_per_prb, 1e-3)), np.nan),
            np.where(served, np.log(np.maximum(slices.delay_p95_ms, 1e-3)), np.nan),
        )

    def _starved(self, sighting: Sighting) -> PerCell:
        """An edge node that leaves offered work undone while it is not busy."""
        offered, used = sighting.edge_cycles_offered, sighting.edge_cycles_used
        usable = (offered > 0) & ~np.isnan(used)
        # By at least a cycle: a claim of far less would overflow.
        done = np.divide(used, np.maximum(offered, 1.0), out=np.ones_like(offered), where=usable)
        idle = sighting.cells.edge_utilisation < self._config.busy_utilisation
        return np.where(usable & idle, _score(np.maximum(1.0 - done, 0.0), 1.0 - self._config.starved_share), 0.0)

    def _congested(self, sighting: Sighting) -> PerCell:
        """A backhaul far slower than usual although its own cell asks for less than it carries."""
        usual_ms = np.maximum(self._usual_backhaul_ms, 1e-3)
        excess = np.maximum(sighting.cells.backhaul_delay_ms / usual_ms - 1.0, 0.0)
        demand_kbps = sighting.slices.demand_kbps.reshape(len(self._topology.cells), -1).sum(axis=1)
        has_room = demand_kbps < self._config.busy_backhaul * self._backhaul_kbps
        return np.where(has_room, _score(excess, self._config.backhaul_factor - 1.0), 0.0)

    def _disturbed(self, sighting: Sighting) -> PerCell:
        """Interference over the usual; the cell is up and awake, or the figure means nothing."""
        cells = sighting.cells
        rise_db = cells.interference_dbm - self._usual_interference_dbm
        counts = (cells.is_up >= 0.5) & (cells.is_asleep < 0.5) & ~np.isnan(rise_db)
        counts &= self._num_looks >= self._config.detector.num_before_use
        return np.where(counts, _score(np.maximum(rise_db, 0.0), self._config.interference_rise_db), 0.0)

    def _worsened(self, slices: SliceEstimates) -> PerCell:
        """Loss of spectral efficiency that the cell's slices share: trouble of the air, not of one device."""
        loss = self._usual_log_kbps_per_prb - self._streams(slices)[1]
        by_cell = windows.mean_over_time(loss.reshape(len(self._topology.cells), -1).T)
        return np.where(
            np.isnan(by_cell), 0.0, _score(np.maximum(by_cell, 0.0), -math.log(self._config.efficiency_left))
        )

    def _learn_usual(self, sighting: Sighting) -> None:
        """Running levels that an alarm moves ten times more slowly."""
        cells = sighting.cells
        weight = np.where(self._congested(sighting) >= ALARM, 0.01, 0.1)
        known = cells.backhaul_delay_ms > 0
        step = np.where(known, cells.backhaul_delay_ms - self._usual_backhaul_ms, 0.0)
        self._usual_backhaul_ms = self._usual_backhaul_ms + weight * step
        weight = np.where(self._disturbed(sighting) >= ALARM, 0.01, 0.1)
        self._usual_interference_dbm = _followed(self._usual_interference_dbm, cells.interference_dbm, weight)
        self._num_looks = self._num_looks + 1
        radio = self._streams(sighting.slices)[1]
        self._usual_log_kbps_per_prb = _followed(self._usual_log_kbps_per_prb, radio, 0.05)
        self._usual_kbps = _followed(self._usual_kbps, sighting.slices.demand_kbps, 0.1)


def _sensor_faults(sighting: Sighting) -> Iterator[tuple[int, Anomaly]]:
    for finding in sighting.sensors:
        many = finding.num_sensors >= _MANY_SENSORS and finding.num_sensors >= _MANY_SHARE * finding.num_reporting
        severity = Severity.MINOR if many else Severity.WARNING
        stream = f"{'stuck' if finding.is_stuck else 'range'}.{finding.stream}.n{finding.num_sensors}"
        yield finding.cell, _anomaly(AnomalyKind.SENSOR, severity, finding.score, stream, finding.cell, sighting)


def _followed(
    usual: NDArray[np.float64], value: NDArray[np.float64], weight: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    moved = np.where(np.isnan(usual), value, usual + weight * (value - usual))
    return np.where(np.isnan(value), usual, moved)


def _score(excess: PerCell, at_half: float) -> PerCell:
    """0-1, 0.5 where the excess is `at_half`."""
    return np.asarray(1.0 - 2.0 ** (-excess / at_half))


def _anomaly(
    kind: AnomalyKind,
    severity: Severity,
    score: float,
    stream: str,
    cell: int,
    sighting: Sighting,
    slice_id: SliceId | None = None,
) -> Anomaly:
    evidence = f"{kind}:{cell}:{stream}:{sighting.start_s:.0f}-{sighting.end_s:.0f}".replace("_", "-")
    return Anomaly(kind=kind, severity=severity, score=round(float(score), 3), slice=slice_id, evidence=evidence[:48])


def _worst_first(anomalies: Sequence[Anomaly]) -> list[Anomaly]:
    return sorted(anomalies, key=lambda a: (_ORDER.index(a.severity), -a.score, a.evidence))
