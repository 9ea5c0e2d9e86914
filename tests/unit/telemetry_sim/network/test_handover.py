"""Which cell serves a device: event A3 with its hysteresis, interruptions and failures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from telemetry_sim.network.links import INTERRUPTION_S, REESTABLISHMENT_S, draw_links, update_links
from telemetry_sim.network.population import bounds_of, build_state, nearest_by_tile
from telemetry_sim.network.state import State
from telemetry_sim.scenarios import scenario


def _attached(offset_db: float = 0.0) -> tuple[State, int, int]:
    """Devices in their first cells; the serving cell of device 0 and another that it hears."""
    made = dataclasses.replace(scenario("smart-city"), num_devices=8)
    bounds = bounds_of(made)
    state = build_state(made, nearest_by_tile(made, bounds), bounds, np.random.default_rng(1))
    draw_links(state, made.step_s)
    update_links(state, 0.0)
    serving = int(state.devices["cell"][0])
    other = int(next(cell for cell in state.links["cell"][0] if cell != serving))
    state.cells["num_handovers"] = state.cells["num_handover_failures"] = 0
    state.cells["offset_db"][other] = offset_db
    state.devices["sinr_db"][0] = 10.0
    state.devices["blocked_until_s"][0] = 0.0
    return state, serving, other


def _hear(state: State, serving: int, other: int, ahead_db: float) -> None:
    """Let device 0 hear a cell so much stronger than its own, and no third."""
    links = state.links[0]
    links["gain"] = 1e-15
    links["gain"][links["cell"] == serving] = 1e-9
    links["gain"][links["cell"] == other] = 1e-9 * 10.0 ** (0.1 * ahead_db)


@pytest.mark.parametrize(("ahead_db", "moves"), [(-1.0, False), (2.9, False), (3.1, True)])
def test_a_device_moves_when_another_cell_is_three_decibels_stronger(ahead_db: float, moves: bool) -> None:
    state, serving, other = _attached()
    _hear(state, serving, other, ahead_db)
    update_links(state, 5.0)
    assert state.devices["cell"][0] == (other if moves else serving)
    assert state.cells["num_handovers"][serving] == moves
    assert state.cells["num_handover_failures"][serving] == 0
    assert state.devices["blocked_until_s"][0] == (pytest.approx(5.0 + INTERRUPTION_S) if moves else 0.0)


def test_a_cells_offset_counts_as_strength() -> None:
    state, serving, other = _attached(offset_db=4.0)
    _hear(state, serving, other, -0.5)
    update_links(state, 5.0)
    assert state.devices["cell"][0] == other


def test_a_handover_that_comes_too_late_fails_and_takes_longer() -> None:
    state, serving, other = _attached()
    _hear(state, serving, other, 12.0)
    state.devices["sinr_db"][0] = -9.0
    update_links(state, 5.0)
    assert state.devices["cell"][0] == other
    assert state.cells["num_handover_failures"][serving] == 1
    assert state.devices["blocked_until_s"][0] == pytest.approx(5.0 + REESTABLISHMENT_S)


def test_a_device_that_hears_no_cell_is_served_by_none() -> None:
    state, serving, _ = _attached()
    state.links["gain"][0] = 1e-19
    state.cells["is_up"][serving] = False
    update_links(state, 5.0)
    assert state.devices["cell"][0] == -1
