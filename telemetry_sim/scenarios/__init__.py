"""The scenarios that come with the simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry_sim.errors import ScenarioInvalid
from telemetry_sim.scenarios.backhaul_plans import BackhaulGaps, BackhaulPlan, SatelliteBackhaul, UavRelays
from telemetry_sim.scenarios.ehealth import ehealth
from telemetry_sim.scenarios.industrial_iot import industrial_iot
from telemetry_sim.scenarios.intelligent_transport import intelligent_transport
from telemetry_sim.scenarios.model import Scenario, ScenarioSummary
from telemetry_sim.scenarios.parts import LoadPlan, LoraUplink, Population, SensorStream
from telemetry_sim.scenarios.positions import at_positions
from telemetry_sim.scenarios.smart_city import smart_city
from telemetry_sim.scenarios.smart_home import smart_home
from telemetry_sim.scenarios.space_air_ground_sea import space_air_ground_sea

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "BackhaulGaps",
    "BackhaulPlan",
    "LoadPlan",
    "LoraUplink",
    "Population",
    "SatelliteBackhaul",
    "Scenario",
    "ScenarioSummary",
    "SensorStream",
    "UavRelays",
    "at_positions",
    "list_scenarios",
    "scenario",
]


def _makers() -> dict[str, Callable[[int | None], Scenario]]:
    return {
        "smart-city": smart_city,
        "intelligent-transport": intelligent_transport,
        "industrial-iot": industrial_iot,
        "smart-home": smart_home,
        "ehealth": ehealth,
        "space-air-ground-sea": space_air_ground_sea,
    }


def scenario(name: str, num_devices: int | None = None) -> Scenario:
    """A scenario by name, scaled to a number of devices; raises ScenarioInvalid for an unknown name."""
    makers = _makers()
    if name not in makers:
        raise ScenarioInvalid(f"scenario {name!r} is unknown; scenarios are {', '.join(makers)}")
    return makers[name](num_devices)


def list_scenarios() -> tuple[ScenarioSummary, ...]:
    """One entry per scenario, at its default size."""
    return tuple(_summary(make(None)) for make in _makers().values())


def _summary(made: Scenario) -> ScenarioSummary:
    return ScenarioSummary(
        name=made.name,
        summary=made.summary,
        num_devices=made.num_devices,
        num_cells=len(made.topology.cells),
        slices=tuple(profile.name for profile in made.topology.slices),
        faults=tuple(str(kind) for kind in made.faults.kinds),
    )
