"""Configurations that can't exist are refused, and the message names the field."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from telemetry_sim.errors import ScenarioInvalid
from telemetry_sim.faults import FaultKind, FaultPlan
from telemetry_sim.mobility import MobilityKind, MobilityModel
from telemetry_sim.scenarios import (
    BackhaulGaps,
    LoraUplink,
    SatelliteBackhaul,
    Scenario,
    SensorStream,
    list_scenarios,
    scenario,
)
from telemetry_sim.topology import Topology
from telemetry_sim.traffic import TrafficKind, TrafficModel

if TYPE_CHECKING:
    from collections.abc import Callable

_CITY = scenario("smart-city")
_STREAM = SensorStream(name="count", mean=1.0, spread=1.0, noise=1.0)
_SOURCE = TrafficModel(kind=TrafficKind.ON_OFF, packets_per_s=1.0, size_bits=8000.0)


def _with_population(**changes: Any) -> Scenario:
    second = dataclasses.replace(_CITY.populations[1], **changes)
    return dataclasses.replace(_CITY, populations=(_CITY.populations[0], second, *_CITY.populations[2:]))


def _with_traffic(**changes: Any) -> Scenario:
    return _with_population(traffic=dataclasses.replace(_SOURCE, **changes))


def _with_load(**changes: Any) -> Scenario:
    assert _CITY.load is not None
    return dataclasses.replace(_CITY, load=dataclasses.replace(_CITY.load, **changes))


def _with_faults(**changes: Any) -> Scenario:
    return dataclasses.replace(_CITY, faults=FaultPlan(kinds=(FaultKind.NODE_CRASH,), **changes))


def _with_cells(**changes: Any) -> Scenario:
    topology = _CITY.topology.model_dump()
    topology["cells"] = [cell | changes for cell in topology["cells"]]
    return dataclasses.replace(_CITY, topology=Topology.model_validate(topology))


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda: _with_load(shares=(0.9, 0.2, 0.2, 0.2)), "load.shares: the sum is 1.5"),
        (lambda: _with_load(shares=(-0.5, 0.5, 0.5, 0.5)), "load.shares[0]"),
        (lambda: _with_load(low=1.3, high=0.7), "load.high"),
        (lambda: _with_load(low=-1.0), "load.low"),
        (lambda: _with_load(high=math.inf), "load.high"),
        (lambda: _with_load(odds=(1.0,)), "load.odds"),
        (lambda: _with_load(odds=(0.0, 0.0, 0.0, 1.0)), "load.odds"),
        (lambda: _with_load(surge=(3.0, 2.0)), "load.surge"),
        (lambda: _with_load(calm=(-1.0, 1.0)), "load.calm"),
        (lambda: _with_load(tasks=(-1.0, 1.0)), "load.tasks"),
        (lambda: _with_load(episode_s=(-5.0, -1.0)), "load.episode_s"),
        (lambda: _with_load(ramp_s=-60.0), "load.ramp_s"),
        (lambda: _with_traffic(packets_per_s=-1.0), "populations[1].traffic.packets_per_s"),
        (lambda: _with_traffic(packets_per_s=math.nan), "populations[1].traffic.packets_per_s"),
        (lambda: _with_traffic(size_bits=0.0), "populations[1].traffic.size_bits"),
        (lambda: _with_traffic(on_s=0.0), "populations[1].traffic.on_s"),
        (lambda: _with_traffic(off_s=-1.0), "populations[1].traffic.off_s"),
        (lambda: _with_population(part=math.nan), "populations[1].part"),
        (lambda: _with_population(part=1.2), "populations[1].part"),
        (lambda: _with_population(cpu_ghz=0.0), "populations[1].cpu_ghz"),
        (lambda: _with_population(tasks_per_s=-1.0), "populations[1].tasks_per_s"),
        (lambda: _with_population(task_bits=-1.0), "populations[1].task_bits"),
        (lambda: _with_population(battery_j=0.0), "populations[1].battery_j"),
        (lambda: _with_population(discard_factor=0.0), "populations[1].discard_factor"),
        (lambda: _with_population(transmit_dbm=math.nan), "populations[1].transmit_dbm"),
        (
            lambda: _with_population(mobility=MobilityModel(kind=MobilityKind.WALK, speed_mps=-3.0)),
            "populations[1].mobility.speed_mps",
        ),
        (lambda: _with_population(sensor=dataclasses.replace(_STREAM, noise=-1.0)), "populations[1].sensor.noise"),
        (lambda: _with_population(sensor=dataclasses.replace(_STREAM, mean=math.nan)), "populations[1].sensor.mean"),
        (lambda: _with_population(lora=LoraUplink(interval_s=0.0)), "populations[1].lora.interval_s"),
        (
            lambda: _with_population(lora=LoraUplink(interval_s=9.0, payload_bytes=300)),
            "populations[1].lora.payload_bytes",
        ),
        (lambda: dataclasses.replace(_CITY, step_s=2.0), "step_s"),
        (lambda: dataclasses.replace(_CITY, step_s=0.3), "step_s"),
        (lambda: dataclasses.replace(_CITY, step_s=0.0004), "step_s"),
        (lambda: dataclasses.replace(_CITY, period_s=math.inf), "period_s"),
        (lambda: dataclasses.replace(_CITY, cell_radius_m=math.inf), "cell_radius_m"),
        (lambda: dataclasses.replace(_CITY, num_devices=math.nan), "num_devices"),
        (lambda: _with_faults(duration_s=(-5.0, -1.0)), "faults.duration_s"),
        (lambda: _with_faults(lead_s=(100.0, 30.0)), "faults.lead_s"),
        (lambda: _with_faults(quiet_s=-5.0), "faults.quiet_s"),
        (
            lambda: dataclasses.replace(_CITY, backhaul_gaps=BackhaulGaps(period_s=0.0, gap_s=0.0)),
            "backhaul_gaps.period_s",
        ),
        (
            lambda: dataclasses.replace(_CITY, backhaul_gaps=BackhaulGaps(period_s=9.0, gap_s=20.0)),
            "backhaul_gaps.gap_s",
        ),
        (
            lambda: dataclasses.replace(_CITY, backhaul_gaps=SatelliteBackhaul(num_satellites=0)),
            "backhaul_gaps.num_satellites",
        ),
        (
            lambda: dataclasses.replace(_CITY, backhaul_gaps=SatelliteBackhaul(altitude_m=-1.0)),
            "backhaul_gaps.altitude_m",
        ),
        (lambda: _with_cells(num_prb=270), "topology.cells[0].num_prb"),
        (lambda: _with_cells(neighbours=()), "topology.cells[0].neighbours"),
    ],
)
def test_an_impossible_value_is_refused_with_its_path(make: Callable[[], Scenario], path: str) -> None:
    with pytest.raises(ScenarioInvalid, match=re.escape(path)):
        make()


def test_a_negative_bandwidth_is_refused_with_its_path() -> None:
    with pytest.raises(ValidationError, match=r"cells\.0\.bandwidth_mhz"):
        _with_cells(bandwidth_mhz=-5.0)


@pytest.mark.parametrize("name", [summary.name for summary in list_scenarios()])
def test_what_comes_with_the_simulator_is_possible(name: str) -> None:
    made = scenario(name)
    assert dataclasses.replace(made) == made
