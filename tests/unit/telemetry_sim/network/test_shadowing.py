"""Shadowing in the network's own links: along a device's way, and between devices."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from telemetry_sim.mobility import MobilityKind, MobilityModel
from telemetry_sim.network.links import draw_links, move_devices, share_shadows
from telemetry_sim.network.population import bounds_of, build_state, nearest_by_tile
from telemetry_sim.network.state import State
from telemetry_sim.radio.shadowing import correlation_distance_scalar_m
from telemetry_sim.scenarios import Scenario, scenario

_SIGMA_LOS_DB, _SIGMA_NLOS_DB = 4.0, 7.82


def _moving_city(num_devices: int) -> Scenario:
    made = scenario("smart-city", num_devices)
    driving = MobilityModel(kind=MobilityKind.STREET, speed_mps=5.0)
    people = tuple(dataclasses.replace(population, mobility=driving) for population in made.populations)
    return dataclasses.replace(made, populations=people)


def _drawn(made: Scenario) -> State:
    bounds = bounds_of(made)
    state = build_state(made, nearest_by_tile(made, bounds), bounds, np.random.default_rng(1))
    draw_links(state, made.step_s)
    return state


def test_a_moving_devices_shadowing_forgets_over_the_correlation_distance() -> None:
    made = _moving_city(12_000)
    state, bounds = _drawn(made), bounds_of(made)
    # All links stay out of sight, so that one spread and one distance hold.
    state.links["sight"] = 1.0
    draw_links(state, made.step_s)
    speed_mps = 5.0
    state.devices["speed_mps"] = speed_mps
    before, cells = state.links["shadow_db"].copy(), state.links["cell"].copy()
    for num_seconds in (1, 2, 3):
        move_devices(state, nearest_by_tile(made, bounds), bounds, 0, len(state.devices), 1.0)
        same = state.links["cell"] == cells
        likeness = np.corrcoef(before[same], state.links["shadow_db"][same])[0, 1]
        way_m = speed_mps * num_seconds
        assert likeness == pytest.approx(math.exp(-way_m / correlation_distance_scalar_m(0, False)), abs=0.02)
        assert state.links["shadow_db"].std() == pytest.approx(_SIGMA_NLOS_DB, rel=0.02)


@pytest.mark.parametrize("is_shared", [False, True])
def test_neighbours_stand_in_like_shadows_where_they_are_shared(is_shared: bool) -> None:
    products = []
    for seed in range(12):
        state = _drawn(scenario("smart-city", 2000))
        # Each device stands five metres from the one before it, both in sight of everything.
        state.devices["x_m"][1::2] = state.devices["x_m"][::2] + 5.0
        state.devices["y_m"][1::2] = state.devices["y_m"][::2]
        state.links["cell"][1::2] = state.links["cell"][::2]
        state.links["sight"] = -1.0
        draw_links(state, 0.1)
        if is_shared:
            share_shadows(state, np.random.default_rng(seed))
        shadow_db = state.links["shadow_db"].astype(float)
        assert shadow_db.std() == pytest.approx(_SIGMA_LOS_DB, rel=0.15)
        products.append(np.mean(shadow_db[::2] * shadow_db[1::2]) / _SIGMA_LOS_DB**2)
    expected = math.exp(-5.0 / correlation_distance_scalar_m(0, True)) if is_shared else 0.0
    assert np.mean(products) == pytest.approx(expected, abs=0.06)


def test_gains_follow_the_shared_shadows() -> None:
    state = _drawn(scenario("smart-city"))
    alone_db = 10.0 * np.log10(state.links["gain"]) + state.links["shadow_db"]
    share_shadows(state, np.random.default_rng(2))
    shared_db = 10.0 * np.log10(state.links["gain"]) + state.links["shadow_db"]
    np.testing.assert_allclose(shared_db, alone_db, atol=1e-3)
