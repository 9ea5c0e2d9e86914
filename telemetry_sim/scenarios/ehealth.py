"""A hospital and its surroundings: telesurgery, patient monitoring, imaging and wearables."""

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
_CELLS = 3
_SPACING_M = 250.0


def ehealth(num_devices: int | None = None) -> Scenario:
    """Three cells and 240 devices, most of them worn."""
    num_devices = _DEVICES if num_devices is None else num_devices
    cells = hexagonal_sites(
        cells_for(num_devices, usual_devices=_DEVICES, usual_cells=_CELLS),
        spacing_m=_SPACING_M,
        environment=Environment.UMI,
        edge_cpu_ghz=10.0,
        backhaul_mbps=200.0,
        backhaul_ms=10.0,
        tx_power_dbm=36.0,
    )
    return Scenario(
        name="ehealth",
        summary="Telesurgery, patient monitoring, imaging and wearables around a hospital",
        topology=Topology(cells=cells, slices=_SLICES),
        populations=_POPULATIONS,
        num_devices=num_devices,
        load=LoadPlan(
            shares=(0.12, 0.18, 0.5, 0.2), low=0.7, high=1.25, surge=(2.0, 4.0), odds=(0.35, 0.35, 0.15, 0.15)
        ),
        faults=FaultPlan(
            kinds=(
                FaultKind.CELL_OUTAGE,
                FaultKind.NODE_CRASH,
                FaultKind.SENSOR_SPIKES,
                FaultKind.SENSOR_DRIFT,
                FaultKind.CLOCK_SKEW,
                FaultKind.COMPROMISED_DEVICE,
            )
        ),
        cell_radius_m=0.4 * _SPACING_M,
    )


_SLICES = (
    SliceProfile(
        id=SliceId(sst=2, sd=1),
        name="telesurgery",
        five_qi=85,
        delay_budget_ms=5.0,
        in_time_target=0.95,
        weight=10.0,
        packet_size_bits=2_040.0,
        aliases=("surgery", "surgeons", "surgical robots"),
    ),
    SliceProfile(
        id=SliceId(sst=2, sd=2),
        name="monitoring",
        five_qi=83,
        delay_budget_ms=10.0,
        in_time_target=0.95,
        weight=7.0,
        packet_size_bits=6_000.0,
        task_megacycles=60.0,
        task_deadline_ms=100.0,
        aliases=("patient monitors",),
    ),
    SliceProfile(
        id=SliceId(sst=1, sd=1),
        name="imaging",
        five_qi=6,
        delay_budget_ms=300.0,
        in_time_target=0.85,
        weight=1.0,
        packet_size_bits=120_000.0,
        task_megacycles=200.0,
        task_deadline_ms=600.0,
        aliases=("scanners", "video"),
    ),
    SliceProfile(
        id=SliceId(sst=3, sd=1),
        name="wearables",
        five_qi=79,
        delay_budget_ms=50.0,
        in_time_target=0.9,
        weight=2.0,
        packet_size_bits=6_000.0,
        aliases=("wristbands", "watches"),
    ),
)

_WALKING = MobilityModel(kind=MobilityKind.WALK, speed_mps=1.2)

_POPULATIONS = (
    Population(
        part=0.05,
        traffic=TrafficModel(kind=TrafficKind.PERIODIC, packets_per_s=200.0, size_bits=2_040.0),
        sensor=SensorStream(name="grip_force_n", mean=4.0, spread=0.6, noise=0.3),
    ),
    Population(
        part=0.25,
        traffic=TrafficModel(kind=TrafficKind.POISSON, packets_per_s=10.0, size_bits=6_000.0),
        tasks_per_s=1.0,
        task_bits=24_000.0,
        sensor=SensorStream(name="heart_rate_bpm", mean=74.0, spread=9.0, noise=2.0, swing=4.0),
    ),
    Population(
        part=0.1,
        traffic=TrafficModel(kind=TrafficKind.VIDEO, packets_per_s=10.0, size_bits=120_000.0),
        tasks_per_s=0.8,
        task_bits=150_000.0,
    ),
    Population(
        part=0.6,
        traffic=TrafficModel(kind=TrafficKind.EVENT_BURST, packets_per_s=4.0, size_bits=6_000.0),
        mobility=_WALKING,
        battery_j=3_000.0,
        sensor=SensorStream(name="spo2_pct", mean=97.0, spread=0.8, noise=0.3),
    ),
)
