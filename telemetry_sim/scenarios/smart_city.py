"""A city district: cameras, traffic-light control, metering and vehicles."""

from __future__ import annotations

from telemetry_sim.faults import FaultKind, FaultPlan
from telemetry_sim.mobility import MobilityKind, MobilityModel
from telemetry_sim.scenarios.growth import cells_for
from telemetry_sim.scenarios.model import Scenario
from telemetry_sim.scenarios.parts import LoadPlan, Population, SensorStream
from telemetry_sim.scenarios.sites import hexagonal_sites
from telemetry_sim.topology import Environment, SliceId, SliceProfile, Topology
from telemetry_sim.traffic import TrafficKind, TrafficModel

_DEVICES = 240
_CELLS = 4
_SPACING_M = 400.0


def smart_city(num_devices: int | None = None) -> Scenario:
    """Four cells and 240 devices; more devices bring more cells."""
    num_devices = _DEVICES if num_devices is None else num_devices
    cells = hexagonal_sites(
        cells_for(num_devices, usual_devices=_DEVICES, usual_cells=_CELLS),
        spacing_m=_SPACING_M,
        environment=Environment.UMI,
        edge_cpu_ghz=7.0,
        backhaul_mbps=150.0,
        backhaul_ms=20.0,
    )
    return Scenario(
        name="smart-city",
        summary="Cameras, traffic-light control, metering and vehicles in a city district",
        topology=Topology(cells=cells, slices=_SLICES),
        populations=_POPULATIONS,
        num_devices=num_devices,
        # Cheap bulk carries most of the load; what matters most surges most often.
        load=LoadPlan(
            shares=(0.45, 0.12, 0.25, 0.18), low=0.7, high=1.25, surge=(2.5, 4.5), odds=(0.15, 0.4, 0.1, 0.35)
        ),
        faults=FaultPlan(
            kinds=(
                FaultKind.BACKHAUL_CONGESTION,
                FaultKind.INTERFERENCE_BURST,
                FaultKind.FLASH_CROWD,
                FaultKind.NODE_CRASH,
                FaultKind.SENSOR_STUCK,
            )
        ),
        cell_radius_m=0.4 * _SPACING_M,
    )


_SLICES = (
    SliceProfile(
        id=SliceId(sst=1, sd=1),
        name="cameras",
        five_qi=7,
        delay_budget_ms=100.0,
        in_time_target=0.9,
        weight=1.5,
        packet_size_bits=100_000.0,
        task_megacycles=120.0,
        task_deadline_ms=300.0,
        aliases=("video", "CCTV"),
    ),
    SliceProfile(
        id=SliceId(sst=2, sd=1),
        name="signal-control",
        five_qi=83,
        delay_budget_ms=10.0,
        in_time_target=0.97,
        weight=10.0,
        packet_size_bits=8_000.0,
        aliases=("traffic lights", "traffic signals"),
    ),
    SliceProfile(
        id=SliceId(sst=3, sd=1),
        name="metering",
        five_qi=9,
        delay_budget_ms=300.0,
        in_time_target=0.85,
        weight=0.5,
        packet_size_bits=24_000.0,
        aliases=("meters", "smart meters"),
    ),
    SliceProfile(
        id=SliceId(sst=4, sd=1),
        name="vehicles",
        five_qi=79,
        delay_budget_ms=50.0,
        in_time_target=0.9,
        weight=6.0,
        packet_size_bits=9_600.0,
        task_megacycles=40.0,
        task_deadline_ms=60.0,
        aliases=("cars", "buses", "delivery robots", "robots"),
    ),
)

_POPULATIONS = (
    Population(
        part=0.2,
        traffic=TrafficModel(kind=TrafficKind.VIDEO, packets_per_s=10.0, size_bits=100_000.0),
        tasks_per_s=2.0,
        task_bits=80_000.0,
        cpu_ghz=1.5,
        sensor=SensorStream(name="people_count", mean=40.0, spread=12.0, noise=4.0, swing=15.0),
    ),
    Population(
        part=0.2,
        traffic=TrafficModel(kind=TrafficKind.POISSON, packets_per_s=40.0, size_bits=8_000.0),
        sensor=SensorStream(name="junction_queue", mean=8.0, spread=3.0, noise=1.5, swing=4.0),
    ),
    Population(
        part=0.4,
        traffic=TrafficModel(kind=TrafficKind.EVENT_BURST, packets_per_s=4.0, size_bits=24_000.0),
        battery_j=40_000.0,
        sensor=SensorStream(name="feeder_load_kw", mean=22.0, spread=6.0, noise=1.0, swing=8.0),
    ),
    Population(
        part=0.2,
        traffic=TrafficModel(kind=TrafficKind.POISSON, packets_per_s=60.0, size_bits=9_600.0),
        mobility=MobilityModel(kind=MobilityKind.STREET, speed_mps=10.0),
        tasks_per_s=5.0,
        task_bits=30_000.0,
        cpu_ghz=2.0,
        sensor=SensorStream(name="brake_temp_c", mean=90.0, spread=15.0, noise=5.0),
    ),
)
