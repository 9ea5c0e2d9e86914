"""A factory hall: motion control, driverless trucks, visual inspection and vibration sensors."""

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
_SPACING_M = 60.0


def industrial_iot(num_devices: int | None = None) -> Scenario:
    """Four hall cells and 240 devices."""
    num_devices = _DEVICES if num_devices is None else num_devices
    cells = hexagonal_sites(
        cells_for(num_devices, usual_devices=_DEVICES, usual_cells=_CELLS),
        spacing_m=_SPACING_M,
        environment=Environment.INF_DH,
        edge_cpu_ghz=14.0,
        backhaul_mbps=500.0,
        backhaul_ms=10.0,
        tx_power_dbm=24.0,
    )
    return Scenario(
        name="industrial-iot",
        summary="Motion control, driverless trucks, visual inspection and vibration sensors in a hall",
        topology=Topology(cells=cells, slices=_SLICES),
        populations=_POPULATIONS,
        num_devices=num_devices,
        load=LoadPlan(shares=(0.15, 0.15, 0.5, 0.2), low=0.7, high=1.25, surge=(2.0, 4.0), odds=(0.4, 0.3, 0.2, 0.1)),
        faults=FaultPlan(
            kinds=(
                FaultKind.INTERFERENCE_BURST,
                FaultKind.NODE_CRASH,
                FaultKind.REBOOT_STORM,
                FaultKind.SENSOR_DRIFT,
                FaultKind.COMPROMISED_DEVICE,
            )
        ),
        cell_radius_m=0.45 * _SPACING_M,
    )


_SLICES = (
    SliceProfile(
        id=SliceId(sst=2, sd=1),
        name="motion-control",
        five_qi=82,
        delay_budget_ms=10.0,
        in_time_target=0.97,
        weight=10.0,
        packet_size_bits=2_040.0,
        aliases=("robots", "robot arms"),
    ),
    SliceProfile(
        id=SliceId(sst=2, sd=2),
        name="driverless-trucks",
        five_qi=86,
        delay_budget_ms=20.0,
        in_time_target=0.95,
        weight=6.0,
        packet_size_bits=8_000.0,
        task_megacycles=30.0,
        task_deadline_ms=60.0,
        aliases=("trucks", "AGVs"),
    ),
    SliceProfile(
        id=SliceId(sst=1, sd=1),
        name="inspection",
        five_qi=7,
        delay_budget_ms=100.0,
        in_time_target=0.85,
        weight=2.0,
        packet_size_bits=120_000.0,
        task_megacycles=150.0,
        task_deadline_ms=400.0,
        aliases=("video", "cameras", "inspection cameras"),
    ),
    SliceProfile(
        id=SliceId(sst=3, sd=1),
        name="vibration",
        five_qi=9,
        delay_budget_ms=300.0,
        in_time_target=0.85,
        weight=0.5,
        packet_size_bits=24_000.0,
        aliases=("vibration sensors",),
    ),
)

_POPULATIONS = (
    Population(
        part=0.25,
        traffic=TrafficModel(kind=TrafficKind.PERIODIC, packets_per_s=100.0, size_bits=2_040.0),
        sensor=SensorStream(name="joint_torque_nm", mean=35.0, spread=6.0, noise=1.5),
    ),
    Population(
        part=0.15,
        traffic=TrafficModel(kind=TrafficKind.POISSON, packets_per_s=30.0, size_bits=8_000.0),
        mobility=MobilityModel(kind=MobilityKind.STREET, speed_mps=1.5),
        tasks_per_s=4.0,
        task_bits=40_000.0,
        cpu_ghz=1.5,
        battery_j=400_000.0,
        sensor=SensorStream(name="truck_current_a", mean=22.0, spread=3.0, noise=1.0),
    ),
    Population(
        part=0.15,
        traffic=TrafficModel(kind=TrafficKind.VIDEO, packets_per_s=10.0, size_bits=120_000.0),
        tasks_per_s=2.0,
        task_bits=100_000.0,
        sensor=SensorStream(name="defects_per_min", mean=3.0, spread=1.0, noise=0.7),
    ),
    Population(
        part=0.45,
        traffic=TrafficModel(kind=TrafficKind.EVENT_BURST, packets_per_s=4.0, size_bits=24_000.0),
        battery_j=20_000.0,
        sensor=SensorStream(name="vibration_mm_s", mean=2.8, spread=0.6, noise=0.25, swing=0.3),
    ),
)
