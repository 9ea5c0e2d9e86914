"""Cells behind shared links, satellites and drones."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from telemetry_sim.errors import ScenarioInvalid
from telemetry_sim.faults import FaultPlan
from telemetry_sim.neighbourhood import backhaul_routes
from telemetry_sim.network import Network
from telemetry_sim.network.backhaul import SharedBackhaul
from telemetry_sim.scenarios import SatelliteBackhaul, Scenario, UavRelays, scenario
from telemetry_sim.topology import CORE, BackhaulLink, Topology


def _city(links: tuple[BackhaulLink, ...]) -> Scenario:
    made = scenario("smart-city")
    topology = Topology(cells=made.topology.cells, slices=made.topology.slices, backhaul=links)
    return dataclasses.replace(made, topology=topology, faults=FaultPlan())


def _behind_one_link(capacity_mbps: float) -> tuple[BackhaulLink, ...]:
    """Every cell on a link of its own to a router, and one link from there to the core."""
    own = tuple(
        BackhaulLink(ends=(cell.name, "ring"), capacity_mbps=1000.0, delay_ms=1.0)
        for cell in scenario("smart-city").topology.cells
    )
    return (*own, BackhaulLink(ends=("ring", CORE), capacity_mbps=capacity_mbps, delay_ms=5.0))


def test_a_cell_takes_the_quickest_way() -> None:
    detour = BackhaulLink(ends=("cell-0", CORE), capacity_mbps=10.0, delay_ms=50.0)
    routes = backhaul_routes(_city((*_behind_one_link(100.0), detour)).topology)
    assert routes[0] == (4, 0)


def test_shares_are_fair_and_spare_capacity_is_given_out() -> None:
    shared = SharedBackhaul(_city(_behind_one_link(100.0)).topology)
    shares = shared.shares_bps(np.array([5e6, 10e6, 100e6, 100e6]))
    assert shares[:2] == pytest.approx([6e6, 12e6])
    assert shares[2] == pytest.approx(shares[3])
    assert shares.sum() == pytest.approx(100e6)
    idle = shared.shares_bps(np.zeros(4))
    assert idle == pytest.approx([25e6] * 4)


def test_no_cell_gets_more_than_its_own_link() -> None:
    shared = SharedBackhaul(_city(_behind_one_link(10_000.0)).topology)
    assert shared.shares_bps(np.full(4, 1e9)) == pytest.approx([150e6] * 4)


def test_together_cells_carry_no_more_than_the_link_they_share() -> None:
    narrow, wide = (Network(_city(_behind_one_link(mbps)), seed=3).run(20).frames for mbps in (40.0, 4000.0))
    served = [sum(frame.slices.served_bits.sum() for frame in frames if frame.slices) for frames in (narrow, wide)]
    assert served[0] < 20 * 40e6 * 1.02
    assert served[1] > 1.3 * served[0]
    assert narrow[-1].cells is not None
    # Its own 20 ms, a millisecond to the router, five from there, and the queue.
    assert np.all(narrow[-1].cells.backhaul_delay_ms >= 26.0)


def test_the_number_of_threads_changes_nothing_behind_shared_links() -> None:
    made = _city(_behind_one_link(40.0))
    alone, together = (Network(made, seed=3, num_threads=threads).run(5).frames[-1] for threads in (1, 3))
    assert alone.devices.served_bits.tobytes() == together.devices.served_bits.tobytes()


def test_a_cell_without_a_way_to_the_core_is_refused() -> None:
    with pytest.raises(ScenarioInvalid, match=r"topology\.backhaul: cells\[1\] \(cell-1\) has no way"):
        _city((BackhaulLink(ends=("cell-0", CORE), capacity_mbps=10.0),))


def test_two_links_between_the_same_ends_are_refused() -> None:
    link = BackhaulLink(ends=("cell-0", CORE), capacity_mbps=10.0)
    with pytest.raises(ScenarioInvalid, match="unique"):
        _city((link, link))


def test_a_satellite_comes_closer_goes_and_leaves_a_gap() -> None:
    backhaul = SatelliteBackhaul()
    seconds = np.arange(0.0, 2000.0)
    up = np.array([backhaul.factors(1, time_s)[0] for time_s in seconds])
    delay_s = np.array([backhaul.delays_s(1, time_s)[0] for time_s in seconds])
    assert 0.01 < 1.0 - up.mean() < 0.06
    assert delay_s.min() == pytest.approx(delay_s[0])
    # There and back to the gateway: straight up it is 600 km, at ten degrees about 1,930 km.
    assert 0.004 < delay_s.min() < delay_s.max() == pytest.approx(2 * 1.932e6 / 3e8, rel=0.01)


def test_nothing_crosses_the_backhaul_while_no_satellite_is_in_sight() -> None:
    made = dataclasses.replace(scenario("space-air-ground-sea"), faults=FaultPlan())
    gaps = made.backhaul_gaps
    assert gaps is not None
    first = next(t for t in range(1000) if gaps.factors(1, float(t))[0] == 0.0)
    network = Network(made, seed=2)
    network.run(first + 2)
    (frame,) = network.run(1).frames
    assert frame.slices is not None
    assert frame.slices.offered_bits.sum() > 0
    assert frame.slices.served_bits.sum() == 0
    assert frame.cells is not None
    assert np.all(frame.cells.backhaul_delay_ms > 25.0)


def test_relaying_drones_are_near_and_far_by_turns_and_change_places() -> None:
    relays = UavRelays()
    times_s = np.arange(0.0, 1200.0, 1.0)
    factors = np.array([relays.factors(3, time_s) for time_s in times_s])
    delays_s = np.array([relays.delays_s(3, time_s) for time_s in times_s])
    assert (factors == 0.0).sum(axis=0).tolist() == [12, 12, 12]
    assert not np.any(np.all(factors == 0.0, axis=1))
    flying = factors[factors > 0.0]
    assert flying.max() == pytest.approx(1.0, abs=1e-3)
    # 10.5 km instead of 7.5 km cost 2.9 dB of 25.
    assert flying.min() == pytest.approx(math.log2(1.0 + 10**2.5 / 1.4**2) / math.log2(1.0 + 10**2.5), abs=1e-3)
    assert delays_s.min() == pytest.approx(0.003 + 7500.0 / 299_792_458.0)
    assert delays_s.max() == pytest.approx(0.003 + 10_500.0 / 299_792_458.0, rel=1e-6)


def test_a_change_of_drones_cuts_a_cell_off_for_its_seconds() -> None:
    made = dataclasses.replace(scenario("space-air-ground-sea"), faults=FaultPlan(), backhaul_gaps=UavRelays())
    frames = Network(made, seed=3).run(20.0).frames
    served = np.array([frame.slices.served_bits[0].sum() for frame in frames if frame.slices is not None])
    assert served[5:12].max() < 0.1 * served[14:].min()
