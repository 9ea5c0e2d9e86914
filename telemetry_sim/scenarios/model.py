"""What a scenario is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from telemetry_sim.errors import ScenarioInvalid
from telemetry_sim.faults import FaultPlan
from telemetry_sim.scenarios.checking import (
    check_faults,
    check_gaps,
    check_load,
    check_populations,
    check_times,
    check_topology,
    require_positive,
)

if TYPE_CHECKING:
    from telemetry_sim.scenarios.backhaul_plans import BackhaulPlan
    from telemetry_sim.scenarios.parts import LoadPlan, Population
    from telemetry_sim.topology import Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A full configuration: with a seed it makes one run."""

    name: str
    summary: str
    topology: Topology
    populations: tuple[Population, ...]
    """One per slice, in the topology's order."""
    num_devices: int
    load: LoadPlan | None = None
    """None leaves every source at its own rate."""
    faults: FaultPlan = field(default_factory=FaultPlan)
    backhaul_gaps: BackhaulPlan | None = None
    cell_radius_m: float = 200.0
    """Devices start within this distance of their cell."""
    has_shared_shadows: bool = False
    """Whether devices that start close together stand in like shadows, or each in its own."""
    queue_places: int = 32
    """Packets a device's buffer holds; a power of two."""
    step_s: float = 0.1
    period_s: float = 1.0
    """Spacing of telemetry frames."""

    def __post_init__(self) -> None:
        num_slices = len(self.topology.slices)
        check_topology(self.topology)
        check_populations(self.populations, num_slices)
        if not self.num_devices >= num_slices:
            raise ScenarioInvalid(
                f"num_devices: {self.num_devices!r} leaves a slice without devices; at least {num_slices}"
            )
        check_load(self.load, num_slices)
        check_faults(self.faults)
        check_gaps(self.backhaul_gaps)
        require_positive("cell_radius_m", self.cell_radius_m)
        check_times(self.step_s, self.period_s)
        if self.queue_places < 2 or self.queue_places & (self.queue_places - 1):
            raise ScenarioInvalid(f"queue_places: {self.queue_places!r}, a power of two from 2 needed")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioSummary:
    """A line of the scenarios' list."""

    name: str
    summary: str
    num_devices: int
    num_cells: int
    slices: tuple[str, ...]
    faults: tuple[str, ...]
