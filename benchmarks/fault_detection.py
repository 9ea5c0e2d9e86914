"""Faults of a simulated network, and what the digests say about them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from edge_preprocess.digest import AnomalyKind
from edge_preprocess.pipeline import EdgePipeline
from telemetry_sim.faults import FaultKind, FaultPlan
from telemetry_sim.network import Network
from telemetry_sim.records import Severity
from telemetry_sim.scenarios import scenario

if TYPE_CHECKING:
    from edge_preprocess.digest import EdgeDigest
    from telemetry_sim.faults import Fault

INTERVAL_S = 10.0
_GRAVE = (Severity.CRITICAL, Severity.MAJOR)
_SHOWS_AS = {
    FaultKind.CELL_OUTAGE: AnomalyKind.RADIO,
    FaultKind.BACKHAUL_CONGESTION: AnomalyKind.BACKHAUL,
    FaultKind.INTERFERENCE_BURST: AnomalyKind.RADIO,
    FaultKind.NODE_CRASH: AnomalyKind.COMPUTE,
    FaultKind.JAMMING: AnomalyKind.RADIO,
    FaultKind.REBOOT_STORM: AnomalyKind.LOG,
    FaultKind.COMPROMISED_DEVICE: AnomalyKind.DEMAND,
}
_INTERVALS_PER_DAY = 86_400.0 / INTERVAL_S
_AFTERMATH_S = 20.0


@dataclass(slots=True, kw_only=True)
class FaultScore:
    """Counts over all runs."""

    num_grave: int = 0
    num_seen: int = 0
    """Named with its kind, in its cell, as major or critical, within two intervals of its start."""
    num_elsewhere: int = 0
    """Named in another cell only."""
    num_false: int = 0
    num_quiet: int = 0
    """Cell-intervals without any fault in the cell."""
    by_kind: Counter[str] = field(default_factory=Counter)
    false_evidence: list[str] = field(default_factory=list)

    def __iadd__(self, other: FaultScore) -> Self:
        """Both together."""
        for part in dataclasses.fields(self):
            mine, theirs = getattr(self, part.name), getattr(other, part.name)
            setattr(self, part.name, mine + theirs)
        return self

    @property
    def false_per_site_day(self) -> float:
        return self.num_false / max(self.num_quiet, 1) * _INTERVALS_PER_DAY


def score_faults(seeds: range, *, num_intervals: int, with_faults: bool = True, name: str = "smart-city") -> FaultScore:
    """Run the scenario once per seed with every kind of fault, or with none."""
    score = FaultScore()
    plan = FaultPlan(
        kinds=tuple(FaultKind) if with_faults else (), quiet_s=100.0, horizon_s=(num_intervals - 10) * INTERVAL_S
    )
    for seed in seeds:
        network = Network(dataclasses.replace(scenario(name), faults=plan), seed=seed)
        pipeline = EdgePipeline(network.topology, interval_s=INTERVAL_S)
        digests = []
        for _ in range(num_intervals):
            telemetry = network.run(INTERVAL_S)
            digests.append(pipeline.digest(telemetry.frames, telemetry.logs))
        for fault in network.ground_truth():
            if fault.severity in _GRAVE:
                _judge(fault, digests, score)
        _count_false(network.ground_truth(), digests, score)
    return score


def _judge(fault: Fault, digests: list[tuple[EdgeDigest, ...]], score: FaultScore) -> None:
    first = int(fault.start_s // INTERVAL_S)
    kind = _SHOWS_AS[fault.kind]
    where = {
        cell
        for interval in digests[first : first + 2]
        for cell, digest in enumerate(interval)
        for anomaly in digest.anomalies
        if anomaly.kind is kind and anomaly.severity in _GRAVE
    }
    score.num_grave += 1
    score.num_seen += fault.cell in where
    score.num_elsewhere += bool(where) and fault.cell not in where
    score.by_kind[f"{fault.kind} {'seen' if fault.cell in where else 'missed'}"] += 1


def _count_false(faults: tuple[Fault, ...], digests: list[tuple[EdgeDigest, ...]], score: FaultScore) -> None:
    for interval in digests:
        for cell, digest in enumerate(interval):
            active = [f for f in faults if _overlaps(f, digest)]
            if any(f.cell == cell for f in active):
                continue
            score.num_quiet += 1
            # Devices of a fault of single devices may be served by a neighbour: naming them there is right.
            roaming = {_SHOWS_AS[f.kind] for f in active if f.devices and f.kind in _SHOWS_AS}
            grave = [anomaly for anomaly in digest.anomalies if anomaly.severity in _GRAVE]
            false = [anomaly.evidence for anomaly in grave if anomaly.kind not in roaming]
            score.num_false += len(false)
            score.false_evidence += false


def _overlaps(fault: Fault, digest: EdgeDigest) -> bool:
    """Whether the fault, its signs or its aftermath fall into the interval."""
    return fault.first_sign_s <= digest.end_s and digest.start_s <= fault.end_s + _AFTERMATH_S
