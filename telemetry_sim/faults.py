"""What goes wrong, with ground truth: kind, place, time and strength, drawn afresh for each seed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from telemetry_sim.records import Severity

if TYPE_CHECKING:
    import numpy as np


class FaultKind(StrEnum):
    """A kind of trouble."""

    CELL_OUTAGE = "cell_outage"
    """The radio of a cell is off."""
    BACKHAUL_CONGESTION = "backhaul_congestion"
    """Most of a backhaul link's capacity is taken by others."""
    INTERFERENCE_BURST = "interference_burst"
    """An outside transmitter raises the interference in a cell."""
    FLASH_CROWD = "flash_crowd"
    """One slice's demand in a cell multiplies."""
    NODE_CRASH = "node_crash"
    """An edge node stops computing, then restarts."""
    SENSOR_STUCK = "sensor_stuck"
    """Sensors repeat their last reading."""


_SEVERITY = {
    FaultKind.CELL_OUTAGE: Severity.CRITICAL,
    FaultKind.BACKHAUL_CONGESTION: Severity.MAJOR,
    FaultKind.INTERFERENCE_BURST: Severity.MAJOR,
    FaultKind.FLASH_CROWD: Severity.MINOR,
    FaultKind.NODE_CRASH: Severity.CRITICAL,
    FaultKind.SENSOR_STUCK: Severity.WARNING,
}

_DEVICE_FAULTS = frozenset({FaultKind.SENSOR_STUCK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Ground truth about one fault; planners never see it."""

    kind: FaultKind
    cell: int
    """Index into the topology's cells."""
    slice: int = -1
    """Index of the slice concerned; -1 for all."""
    devices: tuple[int, ...] = ()
    """Devices concerned, for faults of single devices."""
    first_sign_s: float
    """When its cause first shows in the logs; equal to start_s where nothing announces it."""
    start_s: float
    end_s: float
    severity: Severity
    strength: float
    """0-1: how bad of its kind."""

    def is_active(self, time_s: float) -> bool:
        """Whether the fault bites at a time."""
        return self.start_s <= time_s < self.end_s


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """Which faults a run meets; where, when and how strong is drawn from the run's seed."""

    kinds: tuple[FaultKind, ...] = ()
    horizon_s: float = 400.0
    """All of them start before this."""
    quiet_s: float = 60.0
    """None starts before this."""
    duration_s: tuple[float, float] = (30.0, 70.0)
    lead_s: tuple[float, float] = (30.0, 100.0)
    """How long before its start a fault's cause shows in the logs."""


_UNANNOUNCED = frozenset({FaultKind.INTERFERENCE_BURST, FaultKind.SENSOR_STUCK})


def draw_faults(
    plan: FaultPlan, *, num_cells: int, num_slices: int, num_devices: int, rng: np.random.Generator
) -> tuple[Fault, ...]:
    """The faults of one run, by start."""
    faults = []
    for kind in plan.kinds:
        start_s = float(rng.uniform(plan.quiet_s, max(plan.quiet_s + 1.0, plan.horizon_s - plan.duration_s[0])))
        lead_s = float(rng.uniform(*plan.lead_s))
        devices: tuple[int, ...] = ()
        if kind in _DEVICE_FAULTS:
            chosen = rng.choice(num_devices, size=max(1, num_devices // 50), replace=False)
            devices = tuple(sorted(int(device) for device in chosen))
        faults.append(
            Fault(
                kind=kind,
                cell=int(rng.integers(num_cells)),
                slice=int(rng.integers(num_slices)) if kind is FaultKind.FLASH_CROWD else -1,
                devices=devices,
                first_sign_s=start_s if kind in _UNANNOUNCED else max(0.0, start_s - lead_s),
                start_s=start_s,
                end_s=start_s + float(rng.uniform(*plan.duration_s)),
                severity=_SEVERITY[kind],
                strength=float(rng.uniform(0.5, 1.0)),
            )
        )
    return tuple(sorted(faults, key=lambda fault: fault.start_s))
