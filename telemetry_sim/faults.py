"""What goes wrong, with ground truth: kind, place, time and strength, drawn afresh for each seed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from telemetry_sim.records import Severity

if TYPE_CHECKING:
    from numpy.typing import NDArray


class FaultKind(StrEnum):
    """A kind of trouble."""

    CELL_OUTAGE = "cell_outage"
    """The radio of a cell is off."""
    BACKHAUL_CONGESTION = "backhaul_congestion"
    """Most of a backhaul link's capacity is taken by others."""
    INTERFERENCE_BURST = "interference_burst"
    """An outside transmitter raises the interference in a cell."""
    JAMMING = "jamming"
    """A strong transmitter comes and goes every few seconds."""
    FLASH_CROWD = "flash_crowd"
    """One slice's demand in a cell multiplies."""
    NODE_CRASH = "node_crash"
    """An edge node stops computing, then restarts."""
    REBOOT_STORM = "reboot_storm"
    """A cell's devices of one slice restart again and again; each restart costs signalling."""
    SENSOR_STUCK = "sensor_stuck"
    """Sensors repeat their last reading."""
    SENSOR_DRIFT = "sensor_drift"
    """Sensors move away from the truth, a little each second."""
    SENSOR_SPIKES = "sensor_spikes"
    """Sensors show single absurd readings."""
    CLOCK_SKEW = "clock_skew"
    """Devices stamp their readings with a wrong time."""
    COMPROMISED_DEVICE = "compromised_device"
    """Devices report many times the demand they have."""


_SEVERITY = {
    FaultKind.CELL_OUTAGE: Severity.CRITICAL,
    FaultKind.NODE_CRASH: Severity.CRITICAL,
    FaultKind.BACKHAUL_CONGESTION: Severity.MAJOR,
    FaultKind.INTERFERENCE_BURST: Severity.MAJOR,
    FaultKind.JAMMING: Severity.MAJOR,
    FaultKind.REBOOT_STORM: Severity.MAJOR,
    FaultKind.COMPROMISED_DEVICE: Severity.MAJOR,
    FaultKind.FLASH_CROWD: Severity.MINOR,
    FaultKind.CLOCK_SKEW: Severity.MINOR,
    FaultKind.SENSOR_DRIFT: Severity.MINOR,
    FaultKind.SENSOR_STUCK: Severity.WARNING,
    FaultKind.SENSOR_SPIKES: Severity.WARNING,
}

_OF_ONE_SLICE = frozenset({FaultKind.FLASH_CROWD, FaultKind.REBOOT_STORM})
_OF_SINGLE_DEVICES = frozenset(
    {
        FaultKind.SENSOR_STUCK,
        FaultKind.SENSOR_DRIFT,
        FaultKind.SENSOR_SPIKES,
        FaultKind.CLOCK_SKEW,
        FaultKind.COMPROMISED_DEVICE,
    }
)
_UNANNOUNCED = _OF_SINGLE_DEVICES | {FaultKind.INTERFERENCE_BURST, FaultKind.JAMMING}
_PART_OF_CELL = 0.1
"""Part of a cell's devices that a fault of single devices takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Ground truth about one fault; planners never see it."""

    kind: FaultKind
    cell: int
    """Index into the topology's cells."""
    slice: int = -1
    """Index of the slice concerned; -1 for all."""
    devices: tuple[int, ...] = ()
    """Devices concerned: those whose home cell it is, or the single ones."""
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


def draw_faults(
    plan: FaultPlan, *, homes: NDArray[np.int64], slices: NDArray[np.int64], rng: np.random.Generator
) -> tuple[Fault, ...]:
    """The faults of one run, by start. `homes` and `slices` hold each device's home cell and slice."""
    faults = [_draw_one(kind, plan, homes, slices, rng) for kind in plan.kinds]
    return tuple(sorted(faults, key=lambda fault: fault.start_s))


def _draw_one(
    kind: FaultKind, plan: FaultPlan, homes: NDArray[np.int64], slices: NDArray[np.int64], rng: np.random.Generator
) -> Fault:
    start_s = float(rng.uniform(plan.quiet_s, max(plan.quiet_s + 1.0, plan.horizon_s - plan.duration_s[0])))
    lead_s = float(rng.uniform(*plan.lead_s))
    # A device chosen at random, so that the place is one where devices are.
    witness = int(rng.integers(len(homes)))
    concerned = np.flatnonzero(homes == homes[witness])
    if kind in _OF_ONE_SLICE:
        concerned = concerned[slices[concerned] == slices[witness]]
    elif kind in _OF_SINGLE_DEVICES:
        concerned = rng.choice(concerned, size=max(1, round(_PART_OF_CELL * len(concerned))), replace=False)
    return Fault(
        kind=kind,
        cell=int(homes[witness]),
        slice=int(slices[witness]) if kind in _OF_ONE_SLICE else -1,
        devices=tuple(sorted(concerned.tolist())),
        first_sign_s=start_s if kind in _UNANNOUNCED else max(0.0, start_s - lead_s),
        start_s=start_s,
        end_s=start_s + float(rng.uniform(*plan.duration_s)),
        severity=_SEVERITY[kind],
        strength=float(rng.uniform(0.5, 1.0)),
    )
