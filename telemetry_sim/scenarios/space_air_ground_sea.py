"""A coast: ships, drones, buoys and passengers on cells whose backhaul goes over satellites."""

from __future__ import annotations

from telemetry_sim.faults import FaultKind, FaultPlan
from telemetry_sim.mobility import MobilityKind, MobilityModel
from telemetry_sim.scenarios.backhaul_plans import SatelliteBackhaul
from telemetry_sim.scenarios.growth import cells_for
from telemetry_sim.scenarios.model import Scenario
from telemetry_sim.scenarios.parts import LoadPlan, LoraUplink, Population, SensorStream
from telemetry_sim.scenarios.sites import hexagonal_sites
from telemetry_sim.topology import Environment, SliceId, SliceProfile, Topology
from telemetry_sim.traffic import TrafficKind, TrafficModel

_DEVICES = 160
_CELLS = 4
_SPACING_M = 4000.0


def space_air_ground_sea(num_devices: int | None = None) -> Scenario:
    """Four wide cells and 160 devices; satellites in low orbit carry the backhaul, with a gap after each pass.

    The buoys' readings go by LoRaWAN.
    """
    num_devices = _DEVICES if num_devices is None else num_devices
    cells = hexagonal_sites(
        cells_for(num_devices, usual_devices=_DEVICES, usual_cells=_CELLS),
        spacing_m=_SPACING_M,
        environment=Environment.RMA,
        edge_cpu_ghz=8.0,
        backhaul_mbps=60.0,
        backhaul_ms=25.0,
        tx_power_dbm=46.0,
    )
    return Scenario(
        name="space-air-ground-sea",
        summary="Ships, drones, buoys and passengers on a coast, backhauled over satellites",
        topology=Topology(cells=cells, slices=_SLICES),
        populations=_POPULATIONS,
        num_devices=num_devices,
        load=LoadPlan(shares=(0.2, 0.2, 0.45, 0.15), low=0.7, high=1.25, surge=(2.0, 4.0), odds=(0.35, 0.35, 0.2, 0.1)),
        faults=FaultPlan(
            kinds=(
                FaultKind.BACKHAUL_CONGESTION,
                FaultKind.CELL_OUTAGE,
                FaultKind.JAMMING,
                FaultKind.SENSOR_STUCK,
                FaultKind.CLOCK_SKEW,
            )
        ),
        backhaul_gaps=SatelliteBackhaul(),
        cell_radius_m=0.4 * _SPACING_M,
    )


_SLICES = (
    SliceProfile(
        id=SliceId(sst=4, sd=1),
        name="vessels",
        five_qi=79,
        delay_budget_ms=50.0,
        in_time_target=0.9,
        weight=5.0,
        packet_size_bits=6_000.0,
        task_megacycles=60.0,
        task_deadline_ms=150.0,
        aliases=("ships", "boats"),
    ),
    SliceProfile(
        id=SliceId(sst=2, sd=1),
        name="drone-control",
        five_qi=84,
        delay_budget_ms=30.0,
        in_time_target=0.92,
        weight=8.0,
        packet_size_bits=8_000.0,
        aliases=("drones", "UAVs"),
    ),
    SliceProfile(
        id=SliceId(sst=1, sd=1),
        name="passengers",
        five_qi=6,
        delay_budget_ms=300.0,
        in_time_target=0.85,
        weight=1.0,
        packet_size_bits=100_000.0,
        aliases=("passenger internet", "video", "phones"),
    ),
    SliceProfile(
        id=SliceId(sst=3, sd=1),
        name="buoys",
        five_qi=9,
        delay_budget_ms=300.0,
        in_time_target=0.85,
        weight=1.0,
        packet_size_bits=12_000.0,
        aliases=("sea sensors",),
    ),
)

_POPULATIONS = (
    Population(
        part=0.25,
        traffic=TrafficModel(kind=TrafficKind.POISSON, packets_per_s=10.0, size_bits=6_000.0),
        mobility=MobilityModel(kind=MobilityKind.WALK, speed_mps=8.0),
        tasks_per_s=1.0,
        task_bits=30_000.0,
        sensor=SensorStream(name="vessel_heading_deg", mean=180.0, spread=40.0, noise=2.0, swing=15.0),
    ),
    Population(
        part=0.15,
        traffic=TrafficModel(kind=TrafficKind.PERIODIC, packets_per_s=30.0, size_bits=8_000.0),
        mobility=MobilityModel(kind=MobilityKind.WALK, speed_mps=15.0),
        battery_j=90_000.0,
        sensor=SensorStream(name="drone_altitude_m", mean=80.0, spread=12.0, noise=1.5),
    ),
    Population(
        part=0.2,
        traffic=TrafficModel(kind=TrafficKind.VIDEO, packets_per_s=6.0, size_bits=100_000.0),
        mobility=MobilityModel(kind=MobilityKind.WALK, speed_mps=8.0),
    ),
    Population(
        part=0.4,
        traffic=TrafficModel(kind=TrafficKind.EVENT_BURST, packets_per_s=2.0, size_bits=12_000.0),
        battery_j=8_000.0,
        sensor=SensorStream(name="wave_height_m", mean=1.6, spread=0.3, noise=0.1, swing=0.5),
        lora=LoraUplink(interval_s=30.0),
    ),
)
