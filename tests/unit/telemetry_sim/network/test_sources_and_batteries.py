"""What devices ask for by their traffic models, and what becomes of those whose batteries run out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from telemetry_sim.faults import FaultPlan
from telemetry_sim.network import Network
from telemetry_sim.records import TelemetryFrame
from telemetry_sim.scenarios import Scenario, scenario
from telemetry_sim.traffic import TrafficKind, TrafficModel

_SECONDS = 60


def _city(**changes: object) -> Scenario:
    """The city without load plan and faults, every population changed alike."""
    made = scenario("smart-city")
    people = tuple(dataclasses.replace(p, tasks_per_s=0.0, **changes) for p in made.populations)  # type: ignore[arg-type]
    return dataclasses.replace(made, populations=people, load=None, faults=FaultPlan())


def _source(kind: TrafficKind) -> TrafficModel:
    return TrafficModel(kind=kind, packets_per_s=20.0, size_bits=2000.0, on_s=1.0, off_s=3.0)


def _offered(kind: TrafficKind) -> np.ndarray:
    """Bits offered to each device in each second."""
    frames = Network(_city(traffic=_source(kind)), seed=2).run(_SECONDS).frames
    return np.array([frame.devices.offered_bits for frame in frames if len(frame.devices.device_id) == 240])


@pytest.mark.parametrize("kind", TrafficKind)
def test_a_source_offers_its_mean_rate_in_the_long_run(kind: TrafficKind) -> None:
    assert _offered(kind).mean() == pytest.approx(_source(kind).mean_bps, rel=0.03)


def test_sources_burst_in_the_order_of_their_models() -> None:
    spread = {kind: float(_offered(kind).std(axis=0).mean()) for kind in TrafficKind}
    order = [TrafficKind.PERIODIC, TrafficKind.POISSON, TrafficKind.EVENT_BURST]
    assert [spread[kind] for kind in order] == sorted(spread[kind] for kind in order)
    assert spread[TrafficKind.ON_OFF] > 2.0 * spread[TrafficKind.POISSON]


def _rows_of(frame: TelemetryFrame, device: int) -> int:
    return int((frame.devices.device_id == device).sum())


def test_a_device_whose_battery_runs_out_falls_silent_and_asks_for_nothing() -> None:
    made = _city(battery_j=0.05)
    network = Network(made, seed=2)
    first = network.run(1).frames[0]
    network.run(40)
    (last,) = network.run(1).frames
    silent = np.setdiff1d(first.devices.device_id, last.devices.device_id)
    assert len(silent) > 100
    assert last.sensors is not None
    assert not np.isin(last.sensors.device_id, silent).any()
    assert np.all(last.devices.battery_j > 0.0)
    before = network.totals().offered_packets
    network.run(40)
    totals = network.totals()
    assert totals.offered_packets - before < 0.5 * before
    assert totals.offered_packets == totals.served_packets + totals.dropped_packets + totals.waiting_packets


def test_a_battery_lasts_longer_where_reports_and_receptions_are_fewer() -> None:
    busy, idle = (
        Network(
            _city(
                battery_j=50.0, traffic=TrafficModel(kind=TrafficKind.POISSON, packets_per_s=rate, size_bits=20_000.0)
            ),
            seed=2,
        )
        .run(20)
        .frames[-1]
        .devices.battery_j.mean()
        for rate in (20.0, 0.1)
    )
    assert 0.0 < busy < idle < 50.0
