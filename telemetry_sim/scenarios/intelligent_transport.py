"""A motorway: vehicles, tele-operated lorries, passengers' video and roadside sensors."""

from __future__ import annotations

from telemetry_sim.faults import FaultKind, FaultPlan
from telemetry_sim.mobility import MobilityKind, MobilityModel
from telemetry_sim.scenarios.growth import cells_for
from telemetry_sim.scenarios.model import Scenario
from telemetry_sim.scenarios.parts import LoadPlan, Population, SensorStream
from telemetry_sim.scenarios.sites import hexagonal_sites
from telemetry_sim.topology import Environment, SliceId, SliceProfile, Topology
from telemetry_sim.traffic import TrafficKind, TrafficModel

_DEVICES = 200
_CELLS = 4
_SPACING_M = 600.0


def intelligent_transport(num_devices: int | None = None) -> Scenario:
    """Four macro cells and 200 devices, most of them moving."""
    num_devices = _DEVICES if num_devices is None else num_devices
    cells = hexagonal_sites(
        cells_for(num_devices, usual_devices=_DEVICES, usual_cells=_CELLS),
        spacing_m=_SPACING_M,
        environment=Environment.UMA,
        edge_cpu_ghz=16.0,
        backhaul_mbps=200.0,
        backhaul_ms=8.0,
        tx_power_dbm=46.0,
    )
    return Scenario(
        name="intelligent-transport",
        summary="Vehicles, tele-operated lorries, passengers' video and roadside sensors along a motorway",
        topology=Topology(cells=cells, slices=_SLICES),
        populations=_POPULATIONS,
        num_devices=num_devices,
        load=LoadPlan(shares=(0.3, 0.15, 0.4, 0.15), low=0.7, high=1.25, surge=(2.0, 4.0), odds=(0.35, 0.35, 0.2, 0.1)),
        faults=FaultPlan(
            kinds=(
                FaultKind.CELL_OUTAGE,
                FaultKind.FLASH_CROWD,
                FaultKind.JAMMING,
                FaultKind.SENSOR_SPIKES,
                FaultKind.CLOCK_SKEW,
            )
        ),
        cell_radius_m=0.4 * _SPACING_M,
    )


_SLICES = (
    SliceProfile(
        id=SliceId(sst=4, sd=1),
        name="vehicles",
        five_qi=79,
        delay_budget_ms=50.0,
        in_time_target=0.92,
        weight=6.0,
        packet_size_bits=9_600.0,
        task_megacycles=40.0,
        task_deadline_ms=80.0,
        aliases=("cars", "trucks"),
    ),
    SliceProfile(
        id=SliceId(sst=2, sd=1),
        name="tele-operation",
        five_qi=84,
        delay_budget_ms=30.0,
        in_time_target=0.95,
        weight=10.0,
        packet_size_bits=12_000.0,
        aliases=("remote driving", "teleoperation", "remote drivers"),
    ),
    SliceProfile(
        id=SliceId(sst=1, sd=1),
        name="passengers",
        five_qi=6,
        delay_budget_ms=300.0,
        in_time_target=0.85,
        weight=1.0,
        packet_size_bits=100_000.0,
        aliases=("infotainment", "video", "phones"),
    ),
    SliceProfile(
        id=SliceId(sst=3, sd=1),
        name="roadside",
        five_qi=9,
        delay_budget_ms=300.0,
        in_time_target=0.9,
        weight=1.0,
        packet_size_bits=16_000.0,
        task_megacycles=80.0,
        task_deadline_ms=400.0,
        aliases=("roadside units", "RSUs", "junctions"),
    ),
)

_ON_THE_ROAD = MobilityModel(kind=MobilityKind.STREET, speed_mps=25.0)

_POPULATIONS = (
    Population(
        part=0.4,
        traffic=TrafficModel(kind=TrafficKind.PERIODIC, packets_per_s=10.0, size_bits=9_600.0),
        mobility=_ON_THE_ROAD,
        tasks_per_s=4.0,
        task_bits=30_000.0,
        cpu_ghz=2.0,
        sensor=SensorStream(name="vehicle_speed_kmh", mean=92.0, spread=14.0, noise=3.0, swing=10.0),
    ),
    Population(
        part=0.1,
        traffic=TrafficModel(kind=TrafficKind.PERIODIC, packets_per_s=50.0, size_bits=12_000.0),
        mobility=MobilityModel(kind=MobilityKind.STREET, speed_mps=20.0),
        sensor=SensorStream(name="steering_lag_ms", mean=40.0, spread=5.0, noise=2.0),
    ),
    Population(
        part=0.2,
        traffic=TrafficModel(kind=TrafficKind.VIDEO, packets_per_s=8.0, size_bits=100_000.0),
        mobility=_ON_THE_ROAD,
    ),
    Population(
        part=0.3,
        traffic=TrafficModel(kind=TrafficKind.POISSON, packets_per_s=4.0, size_bits=16_000.0),
        tasks_per_s=0.5,
        task_bits=60_000.0,
        battery_j=60_000.0,
        sensor=SensorStream(name="junction_count", mean=18.0, spread=6.0, noise=2.0, swing=7.0),
    ),
)
