"""Buoys whose readings go by LoRaWAN."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from telemetry_sim.actions import SliceAction
from telemetry_sim.faults import FaultPlan
from telemetry_sim.lora import EU868_DUTY_CYCLE
from telemetry_sim.lora_cell import TRANSMIT_W
from telemetry_sim.network import Network
from telemetry_sim.network.population import home_cells_and_slices
from telemetry_sim.scenarios import LoraUplink, Scenario, scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry_sim.records import TelemetryFrame

_BUOYS = 3


def _coast(lora: LoraUplink | None, num_devices: int = 160) -> Scenario:
    made = scenario("space-air-ground-sea", num_devices)
    buoys = dataclasses.replace(made.populations[_BUOYS], lora=lora)
    return dataclasses.replace(made, populations=(*made.populations[:_BUOYS], buoys), faults=FaultPlan())


def _readings_of_buoys(made: Scenario, seconds: int) -> tuple[int, int]:
    """Readings that came in, and buoys."""
    frames = Network(made, seed=4).run(seconds).frames
    assert frames[0].sensors is not None
    stream = frames[0].stream_names.index("wave_height_m")
    num = sum(int((frame.sensors.stream == stream).sum()) for frame in frames if frame.sensors is not None)
    return num, int((frames[0].devices.slice == _BUOYS).sum())


def test_readings_come_at_the_devices_own_pace_and_some_are_lost() -> None:
    num, buoys = _readings_of_buoys(_coast(LoraUplink(interval_s=30.0)), 120)
    assert 0.4 * 4 * buoys < num <= 4 * buoys + buoys


def test_without_lorawan_every_report_brings_a_reading() -> None:
    num, buoys = _readings_of_buoys(_coast(None), 20)
    assert num == pytest.approx(20 * buoys, rel=0.05)


def test_the_duty_cycle_bounds_what_is_sent_and_sending_costs_energy() -> None:
    networks = [Network(_coast(lora), seed=4) for lora in (LoraUplink(interval_s=0.1), None)]
    frames = [network.run(100).frames for network in networks]
    own = frames[0][0].devices.slice == _BUOYS
    spent = [np.sum([frame.devices.energy_j[own] for frame in some], axis=0) for some in frames]
    extra_s = (spent[0] - spent[1]) / TRANSMIT_W
    # One packet more than the share of the time: the run may begin and end with one; the slowest takes 1.8 s.
    assert np.all(extra_s > 0.0)
    assert np.all(extra_s <= 100.0 * EU868_DUTY_CYCLE + 1.9)


def test_a_crowd_at_one_gateway_loses_more() -> None:
    few, buoys_few = _readings_of_buoys(_coast(LoraUplink(interval_s=10.0), 160), 60)
    many, buoys_many = _readings_of_buoys(_coast(LoraUplink(interval_s=10.0), 8000), 60)
    assert many / buoys_many < 0.8 * few / buoys_few


def test_forks_hear_the_same_packets() -> None:
    network = Network(_coast(LoraUplink(interval_s=5.0)), seed=4)
    network.run(5)
    fork = network.fork()
    (ours,), (theirs,) = network.run(1).frames, fork.run(1).frames
    assert ours.sensors is not None
    assert theirs.sensors is not None
    assert ours.sensors.device_id.tobytes() == theirs.sensors.device_id.tobytes()


def _buoys_heard(frames: Sequence[TelemetryFrame]) -> list[list[int]]:
    """Per frame, the buoys whose readings came in."""
    stream = frames[0].stream_names.index("wave_height_m")
    readings = [frame.sensors for frame in frames if frame.sensors is not None]
    return [found.device_id[found.stream == stream].tolist() for found in readings]


def test_readings_come_whenever_a_packet_does_however_seldom_the_device_reports_to_its_cell() -> None:
    often, seldom = (Network(_coast(LoraUplink(interval_s=30.0)), seed=4) for _ in range(2))
    buoys = seldom.topology.slices[_BUOYS].id
    seldom.apply(
        [SliceAction(cell=cell.id, slice=buoys, min_pct=10, report_interval_s=60.0) for cell in seldom.topology.cells],
        policy_version=1,
    )
    expected, found = (network.run(90).frames for network in (often, seldom))
    assert _buoys_heard(found) == _buoys_heard(expected)
    assert sum(map(len, _buoys_heard(found))) > 0
    reports = [sum(int((frame.devices.slice == _BUOYS).sum()) for frame in frames) for frames in (expected, found)]
    assert reports[1] < 0.1 * reports[0]


def _reported(network: Network, num_periods: int) -> list[TelemetryFrame]:
    """What would be reported of so many periods in which nothing else happens."""
    frames = []
    for _ in range(num_periods):
        network.time_s += 1.0
        frames.append(network._report(1))
    return frames


def test_gateways_hear_devices_that_no_cell_serves_at_their_home_cells() -> None:
    made = _coast(LoraUplink(interval_s=5.0))
    served, alone = Network(made, seed=4), Network(made, seed=4)
    alone._state.devices["cell"][:] = -1
    expected, found = _reported(served, 20), _reported(alone, 20)
    assert _buoys_heard(found) == _buoys_heard(expected)
    homes, _ = home_cells_and_slices(made)
    for frame in found:
        assert frame.sensors is not None
        assert not len(frame.devices.device_id)
        assert frame.sensors.cell.tolist() == homes[frame.sensors.device_id].tolist()
        assert frame.sensors.cell.dtype == np.int16
    assert sum(map(len, _buoys_heard(found))) > 0


def test_a_device_whose_battery_is_empty_sends_nothing() -> None:
    network = Network(_coast(LoraUplink(interval_s=5.0)), seed=4)
    devices = network._state.devices
    empty = np.flatnonzero(devices["slice"] == _BUOYS)[::2]
    devices["battery_j"][empty] = 0.0
    heard = {device for few in _buoys_heard(_reported(network, 60)) for device in few}
    assert heard
    assert not heard & set(empty.tolist())
    assert not devices["energy_j"][empty].any()
