"""EXPLORA's cell in the simulator, driven by the slicing that its controller recorded.

Nothing is fitted per log or device. The cell has 50 PRBs; a device's buffer holds 128 packets and drops none for age.
Two figures were set once, on the logs under `motivation_main-results`; those under `action-steering` are held out:
PRB_KHZ, the width at which a PRB of the simulator at its top rate carries what one of the recorded LTE cell carries
while buffers are full (0.46 Mb/s), and PADDING, the part of a transport block that stays empty because block sizes come
in steps, since the recorded bitrate counts whole blocks.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from validation_radio import Figure, figure

from telemetry_sim.actions import Scheduler, SliceAction
from telemetry_sim.faults import FaultPlan
from telemetry_sim.network import Network
from telemetry_sim.scenarios import Population, Scenario
from telemetry_sim.topology import CellSite, Environment, Topology
from telemetry_sim.traces import open_trace
from telemetry_sim.traffic import TrafficKind, TrafficModel

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from telemetry_sim.traces import PeerDecision, TraceReader

HEADER_BYTES = 37
QUEUE_PACKETS = 128
PADDING = 0.02
PRB_KHZ = 113.0
NUM_PRB = 50
SEED = 20
_CALIBRATION_LOGS = "motivation_main-results/"

# Packets a second and bytes of each class. Source: the logs' own documentation.
TRAFFIC = {
    "profile_1": {"embb": (357.15, 1400), "mmtc": (44.64, 125), "urllc": (89.29, 125)},
    "profile_2": {"embb": (357.15, 700), "mmtc": (133.92, 125), "urllc": (178.58, 125)},
}
SCHEDULERS = {
    "rr": Scheduler.ROUND_ROBIN,
    # Water-filling has no counterpart; with equal links it serves as proportional fair does.
    "wf": Scheduler.PROPORTIONAL_FAIR,
    "pf": Scheduler.PROPORTIONAL_FAIR,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceComparison:
    """One slice of one log: recorded and simulated."""

    log: str
    name: str
    profile: str
    recorded_mbps: float
    """Median over devices and reports."""
    simulated_mbps: float
    recorded_empty: float
    """Share (0-1) of reports with an empty buffer."""
    simulated_empty: float

    @property
    def rate_holds(self) -> bool:
        return abs(self.simulated_mbps - self.recorded_mbps) <= max(0.05 * self.recorded_mbps, 0.01) + 1e-9

    @property
    def empty_holds(self) -> bool:
        return abs(self.simulated_empty - self.recorded_empty) <= 0.05


def compare_log(path: Path, name: str) -> list[SliceComparison]:
    """Every slice of a log beside the simulator under the same decisions."""
    trace = open_trace(path)
    recorded = _recorded(trace)
    network = Network(_scenario(trace), seed=SEED)
    simulated: dict[int, list[NDArray[np.float64]]] = {index: [] for index in recorded}
    network.run(5.0)
    for version, decision in enumerate(trace.decisions, start=1):
        network.apply(_actions(trace.topology, decision), policy_version=version)
        (frame,) = network.run(1.0).frames
        for index in recorded:
            own = frame.devices.slice == index
            simulated[index].append(
                np.column_stack((frame.devices.served_bits[own] / 1e6, frame.devices.backlog_bits[own]))
            )
    comparisons = []
    for index, rows in recorded.items():
        own = np.vstack(simulated[index])
        comparisons.append(
            SliceComparison(
                log=name,
                name=trace.topology.slices[index].name,
                profile=str(trace.summary.notes["traffic_profile"]),
                recorded_mbps=float(np.median(rows[:, 0])),
                simulated_mbps=float(np.median(own[:, 0])),
                recorded_empty=float(np.mean(rows[:, 1] == 0)),
                simulated_empty=float(np.mean(own[:, 1] == 0)),
            )
        )
    return comparisons


def cell_figures(data: Path, pattern: str) -> list[Figure]:
    """Every log of a pattern, driven by its own decisions."""
    files = sorted((data / "explora_oran_agent").glob(pattern))
    compared = [c for file in files for c in compare_log(file, f"{file.parent.parent.name}/{file.parent.name}")]
    held_out = [c for c in compared if not c.log.startswith(_CALIBRATION_LOGS)]
    calibration = [c for c in compared if c.log.startswith(_CALIBRATION_LOGS)]
    kept, turned, pairs = ordering_kept(compared)
    return [
        *_rate_figures("logs used for calibration", calibration),
        *_rate_figures("held-out logs", held_out),
        *_empty_figures(compared),
        figure(
            "EXPLORA: pairs of logs that keep the recorded order of a slice's bitrate (share)",
            kept / max(1, pairs),
            "all",
            holds=kept == pairs,
            pairs=pairs,
            turned_round=turned,
        ),
    ]


def _rate_figures(which: str, compared: list[SliceComparison]) -> list[Figure]:
    if not compared:
        return []
    within = sum(c.rate_holds for c in compared)
    return [
        figure(
            f"EXPLORA, {which}: slices whose median bitrate is within 5 % or 0.01 Mb/s (share)",
            within / len(compared),
            "all",
            holds=within == len(compared),
            slices=len(compared),
            missed=[asdict(c) for c in compared if not c.rate_holds],
        )
    ]


def _empty_figures(compared: list[SliceComparison]) -> list[Figure]:
    """Empty buffers: on the average of the logs of a class and profile, and log by log."""
    figures = []
    for name, profile in sorted({(c.name, c.profile) for c in compared}):
        own = [c for c in compared if (c.name, c.profile) == (name, profile)]
        gap = abs(float(np.mean([c.simulated_empty - c.recorded_empty for c in own])))
        label = f"EXPLORA: share of empty buffers of {name}, {profile}, mean of the logs: gap"
        figures.append(figure(label, gap, "<= 0.05", holds=gap <= 0.05, logs=len(own)))
    within = sum(c.empty_holds for c in compared)
    gaps = [abs(c.simulated_empty - c.recorded_empty) for c in compared]
    label = "EXPLORA: slices of single logs whose share of empty buffers is within 5 points (share)"
    return [
        *figures,
        figure(label, within / len(compared), "all", holds=within == len(compared), median_gap=float(np.median(gaps))),
    ]


def ordering_kept(comparisons: list[SliceComparison]) -> tuple[int, int, int]:
    """Pairs of logs whose recorded medians of a slice differ by more than 5 %: in order, turned round, and all.

    A pair that the simulator finds equal is neither kept nor turned round.
    """
    kept = turned = total = 0
    for name in {c.name for c in comparisons}:
        for a, b in itertools.combinations([c for c in comparisons if c.name == name], 2):
            gap = a.recorded_mbps - b.recorded_mbps
            if abs(gap) > max(0.05 * max(a.recorded_mbps, b.recorded_mbps), 0.01):
                total += 1
                simulated_gap = a.simulated_mbps - b.simulated_mbps
                kept += simulated_gap * gap > 0
                turned += simulated_gap * gap < 0
    return kept, turned, total


def _recorded(trace: TraceReader) -> dict[int, NDArray[np.float64]]:
    """Mb/s and backlog of every device and frame, by slice."""
    rows: dict[int, list[NDArray[np.float64]]] = {}
    for frame in trace.frames():
        d = frame.devices
        for index in np.unique(d.slice).tolist():
            own = d.slice == index
            rows.setdefault(index, []).append(
                np.column_stack((d.served_bits[own] / frame.period_s / 1e6, d.backlog_bits[own]))
            )
    return {index: np.vstack(parts) for index, parts in sorted(rows.items())}


def _scenario(trace: TraceReader) -> Scenario:
    traffic = TRAFFIC[str(trace.summary.notes["traffic_profile"])]
    counts = _devices_per_slice(trace)
    num_devices = sum(counts)
    cell = CellSite(
        id=1,
        name="explora",
        x_m=0.0,
        y_m=0.0,
        environment=Environment.UMI,
        carrier_ghz=1.0,
        bandwidth_mhz=10.0,
        num_prb=NUM_PRB,
        prb_khz=PRB_KHZ,
        tx_power_dbm=43.0,
    )
    populations = tuple(
        Population(
            part=count / num_devices,
            traffic=_model(profile.name, *traffic[profile.name]),
            discard_factor=1e6,
        )
        for profile, count in zip(trace.topology.slices, counts, strict=True)
    )
    return Scenario(
        name="explora",
        summary="One cell, as recorded",
        topology=Topology(cells=(cell,), slices=trace.topology.slices),
        populations=populations,
        num_devices=num_devices,
        faults=FaultPlan(kinds=()),
        cell_radius_m=20.0,
        queue_places=QUEUE_PACKETS,
    )


def _devices_per_slice(trace: TraceReader) -> list[int]:
    """The usual number of devices of each slice."""
    seen: list[list[int]] = [[] for _ in trace.topology.slices]
    for frame in trace.frames():
        for index, counts in enumerate(seen):
            counts.append(int(np.sum(frame.devices.slice == index)))
    return [max(1, round(float(np.median(counts)))) for counts in seen]


def _model(name: str, packets_per_s: float, size_bytes: int) -> TrafficModel:
    kind = TrafficKind.PERIODIC if name == "embb" else TrafficKind.POISSON
    return TrafficModel(
        kind=kind, packets_per_s=packets_per_s, size_bits=8.0 * (size_bytes + HEADER_BYTES) * (1.0 + PADDING)
    )


def _actions(topology: Topology, decision: PeerDecision) -> list[SliceAction]:
    return [
        SliceAction(
            cell=1,
            slice=profile.id,
            dedicated_pct=round(100 * prb / NUM_PRB),
            min_pct=round(100 * prb / NUM_PRB),
            max_pct=round(100 * prb / NUM_PRB),
            scheduler=SCHEDULERS[scheduler],
        )
        for profile, prb, scheduler in zip(topology.slices, decision.slice_prb, decision.schedulers, strict=True)
    ]
