"""A quarter of homes: streaming, voice assistants, security cameras and home sensors."""

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
_CELLS = 3
_SPACING_M = 200.0


def smart_home(num_devices: int | None = None) -> Scenario:
    """Three small cells and 200 devices."""
    num_devices = _DEVICES if num_devices is None else num_devices
    cells = hexagonal_sites(
        cells_for(num_devices, usual_devices=_DEVICES, usual_cells=_CELLS),
        spacing_m=_SPACING_M,
        environment=Environment.UMI,
        edge_cpu_ghz=8.0,
        backhaul_mbps=120.0,
        backhaul_ms=15.0,
        tx_power_dbm=33.0,
    )
    return Scenario(
        name="smart-home",
        summary="Streaming, voice assistants, security cameras and home sensors in a quarter of homes",
        topology=Topology(cells=cells, slices=_SLICES),
        populations=_POPULATIONS,
        num_devices=num_devices,
        load=LoadPlan(
            shares=(0.5, 0.08, 0.27, 0.15), low=0.7, high=1.25, surge=(2.0, 4.0), odds=(0.2, 0.3, 0.35, 0.15)
        ),
        faults=FaultPlan(
            kinds=(
                FaultKind.BACKHAUL_CONGESTION,
                FaultKind.REBOOT_STORM,
                FaultKind.COMPROMISED_DEVICE,
                FaultKind.SENSOR_STUCK,
                FaultKind.FLASH_CROWD,
            )
        ),
        cell_radius_m=0.4 * _SPACING_M,
    )


_SLICES = (
    SliceProfile(
        id=SliceId(sst=1, sd=1),
        name="streaming",
        five_qi=6,
        delay_budget_ms=300.0,
        in_time_target=0.85,
        weight=1.0,
        packet_size_bits=120_000.0,
        aliases=("video", "TVs", "television"),
    ),
    SliceProfile(
        id=SliceId(sst=1, sd=2),
        name="assistants",
        five_qi=7,
        delay_budget_ms=100.0,
        in_time_target=0.95,
        weight=5.0,
        packet_size_bits=8_000.0,
        task_megacycles=90.0,
        task_deadline_ms=200.0,
        aliases=("voice assistants", "speakers"),
    ),
    SliceProfile(
        id=SliceId(sst=1, sd=3),
        name="security-cameras",
        five_qi=4,
        delay_budget_ms=300.0,
        in_time_target=0.92,
        weight=3.0,
        packet_size_bits=80_000.0,
        task_megacycles=120.0,
        task_deadline_ms=500.0,
        aliases=("cameras", "CCTV"),
    ),
    SliceProfile(
        id=SliceId(sst=3, sd=1),
        name="home-sensors",
        five_qi=79,
        delay_budget_ms=50.0,
        in_time_target=0.9,
        weight=4.0,
        packet_size_bits=6_000.0,
        aliases=("sensors", "thermostats"),
    ),
)

_POPULATIONS = (
    Population(
        part=0.15,
        traffic=TrafficModel(kind=TrafficKind.VIDEO, packets_per_s=10.0, size_bits=120_000.0),
    ),
    Population(
        part=0.15,
        traffic=TrafficModel(kind=TrafficKind.ON_OFF, packets_per_s=8.0, size_bits=8_000.0, on_s=3.0, off_s=12.0),
        mobility=MobilityModel(kind=MobilityKind.WALK, speed_mps=0.8),
        tasks_per_s=0.6,
        task_bits=60_000.0,
        sensor=SensorStream(name="home_activity", mean=24.0, spread=8.0, noise=3.0, swing=10.0),
    ),
    Population(
        part=0.2,
        traffic=TrafficModel(kind=TrafficKind.VIDEO, packets_per_s=5.0, size_bits=80_000.0),
        tasks_per_s=0.8,
        task_bits=80_000.0,
        sensor=SensorStream(name="motion_events", mean=6.0, spread=2.0, noise=1.5, swing=3.0),
    ),
    Population(
        part=0.5,
        traffic=TrafficModel(kind=TrafficKind.POISSON, packets_per_s=3.0, size_bits=6_000.0),
        battery_j=9_000.0,
        sensor=SensorStream(name="room_temp_c", mean=21.0, spread=1.5, noise=0.1, swing=1.0),
    ),
)
