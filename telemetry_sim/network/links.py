"""The radio once a period: devices move, gains and interference follow, handovers happen."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from telemetry_sim.compiled import inner, kernel
from telemetry_sim.mobility import next_heading, reflect
from telemetry_sim.network.antenna import antenna_gain_db
from telemetry_sim.network.state import Records, State
from telemetry_sim.radio.fading import fresh_part, jakes_correlation
from telemetry_sim.radio.line_of_sight import los_probability_scalar
from telemetry_sim.radio.path_loss import path_loss_scalar_db
from telemetry_sim.radio.shadowing import (
    correlation_distance_scalar_m,
    next_shadowing_scalar_db,
    shadowing_field,
    shadowing_sigma_scalar_db,
)
from telemetry_sim.random_bits import normal, uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEVICE_HEIGHT_M = 1.5
RICIAN_K = 7.9
"""Mean K factor (9 dB) of a link in line of sight. Source: 3GPP TR 38.901, table 7.5-6 (UMi)."""
STILL_MPS = 0.3
"""Speed of the surroundings of a device that stands still."""
HYSTERESIS = 10.0**0.3
"""Of event A3: 3 dB. Its time to trigger (0.32 s and less) is shorter than a period: one look decides.

Source: 3GPP TS 38.331, 5.5.4.4.
"""
INTERRUPTION_S = 0.02
REESTABLISHMENT_S = 0.3
"""After a radio link failure. Source: 3GPP TS 38.331, T311 scale."""
OUT_OF_SYNC_DB = -8.0
"""SINR at which the serving link fails. Source: 3GPP TS 38.133, 8.1 (Qout)."""
UNREACHABLE_MW = 10.0**-13.5
"""Per PRB (-135 dBm); weaker cells can't serve."""


@inner
def update_gain(state: State, device: int, k: int, moved_m: float) -> None:
    """Recompute one link's gain after a move; `moved_m` infinite draws its shadowing afresh."""
    devices, cells = state.devices, state.cells
    cell = state.links[device, k].cell
    distance_m = math.hypot(devices[device].x_m - cells[cell].x_m, devices[device].y_m - cells[cell].y_m)
    code, height_m, carrier_ghz = cells[cell].environment, cells[cell].height_m, cells[cell].carrier_ghz
    is_los = state.links[device, k].sight < los_probability_scalar(code, distance_m, height_m, DEVICE_HEIGHT_M)
    sigma_db = shadowing_sigma_scalar_db(code, is_los, distance_m, carrier_ghz, height_m, DEVICE_HEIGHT_M)
    shadow_db = next_shadowing_scalar_db(
        state.links[device, k].shadow_db,
        moved_m,
        correlation_distance_scalar_m(code, is_los),
        sigma_db,
        normal(state.rng, device),
    )
    state.links[device, k].shadow_db = shadow_db
    loss_db = path_loss_scalar_db(code, distance_m, is_los, carrier_ghz, height_m, DEVICE_HEIGHT_M)
    loss_db -= antenna_gain_db(code, distance_m, height_m - DEVICE_HEIGHT_M)
    state.links[device, k].gain = 10.0 ** (-0.1 * (loss_db + shadow_db))
    if cell == devices[device].cell:
        devices[device].is_los = is_los


@inner
def _move(state: State, device: int, period_s: float, bounds: NDArray[np.float64]) -> None:
    devices = state.devices
    speed_mps = devices[device].speed_mps
    heading = next_heading(state.rng, device, devices[device].mobility, float(devices[device].heading_rad), period_s)
    devices[device].heading_rad = heading
    step_m = speed_mps * period_s
    x_m = devices[device].x_m + step_m * math.cos(heading)
    y_m = devices[device].y_m + step_m * math.sin(heading)
    devices[device].x_m = reflect(x_m, bounds[0], bounds[1])
    devices[device].y_m = reflect(y_m, bounds[2], bounds[3])
    if devices[device].x_m != x_m or devices[device].y_m != y_m:
        devices[device].heading_rad = heading + math.pi
    for k in range(state.links.shape[1]):
        update_gain(state, device, k, step_m)


@inner
def _find_candidates(state: State, device: int, tiles: NDArray[np.int16], bounds: NDArray[np.float64]) -> None:
    """Swap in the cells of the tile the device is in; cells that stay, the serving one too, keep their shadowing."""
    devices = state.devices
    per_side = tiles.shape[0]
    column = min(per_side - 1, int((devices[device].x_m - bounds[0]) / (bounds[1] - bounds[0]) * per_side))
    line = min(per_side - 1, int((devices[device].y_m - bounds[2]) / (bounds[3] - bounds[2]) * per_side))
    wanted = tiles[line, column]
    links = state.links[device]
    for cell in wanted:
        if _is_linked(links, cell):
            continue
        for k in range(links.shape[0]):
            if links[k].cell != devices[device].cell and not _holds(wanted, links[k].cell):
                links[k].cell = cell
                links[k].sight = uniform(state.rng, device)
                update_gain(state, device, k, math.inf)
                break


@inner
def _is_linked(links: Records, cell: int) -> bool:
    found = False
    for k in range(links.shape[0]):
        found |= links[k].cell == cell
    return found


@inner
def _holds(cells: NDArray[np.int16], cell: int) -> bool:
    found = False
    for other in cells:
        found |= other == cell
    return found


@inner
def _set_powers(state: State) -> None:
    """Radiated per PRB, 0 from a cell that is down or asleep, and the handover offset, both in linear units."""
    cells = state.cells
    for cell in range(cells.shape[0]):
        is_on = cells[cell].is_up and not cells[cell].is_asleep
        power_mw = cells[cell].full_power_mw * 10.0 ** (0.1 * cells[cell].power_step_db) / cells[cell].num_prb
        cells[cell].prb_mw = power_mw if is_on else 0.0
        cells[cell].attraction = 10.0 ** (0.1 * cells[cell].offset_db)


@inner
def _attach(state: State, device: int, now_s: float) -> None:
    """Choose the serving cell: the strongest when the old one is gone, else by event A3."""
    devices, cells = state.devices, state.cells
    serving = devices[device].cell
    best, best_mw, serving_mw = -1, 0.0, 0.0
    for k in range(state.links.shape[1]):
        cell = state.links[device, k].cell
        # Levels in linear units: the comparison is the same and costs no logarithm.
        level_mw = cells[cell].prb_mw * state.links[device, k].gain * cells[cell].attraction
        if cell == serving:
            serving_mw = level_mw
        elif level_mw > best_mw:
            best, best_mw = cell, level_mw
    if serving >= 0 and serving_mw > 0.0:
        if best_mw > serving_mw * HYSTERESIS:
            _handover_by_a3(state, device, best, now_s)
    else:
        _reselect(state, device, best, best_mw, now_s)


@inner
def _handover_by_a3(state: State, device: int, target: int, now_s: float) -> None:
    devices, cells = state.devices, state.cells
    source = devices[device].cell
    failed = devices[device].sinr_db < OUT_OF_SYNC_DB
    cells[source].num_handovers += 1
    cells[source].num_handover_failures += failed
    _enter(state, device, target, now_s + (REESTABLISHMENT_S if failed else INTERRUPTION_S), now_s)


@inner
def _reselect(state: State, device: int, target: int, level_mw: float, now_s: float) -> None:
    """The serving cell is gone: a sleeping cell hands its devices over, a failed one loses them for a while."""
    devices, cells = state.devices, state.cells
    source = devices[device].cell
    if source >= 0:
        lost = not cells[source].is_up
        cells[source].num_handovers += 1
        cells[source].num_handover_failures += lost
    else:
        lost = True
    if target < 0 or level_mw < UNREACHABLE_MW:
        devices[device].cell = -1
        return
    _enter(state, device, target, now_s + (REESTABLISHMENT_S if lost else INTERRUPTION_S), now_s)


@inner
def _enter(state: State, device: int, cell: int, blocked_until_s: float, now_s: float) -> None:
    devices = state.devices
    devices[device].cell = cell
    devices[device].attached_s = now_s
    devices[device].blocked_until_s = max(devices[device].blocked_until_s, blocked_until_s)
    for k in range(state.links.shape[1]):
        if state.links[device, k].cell == cell:
            update_gain(state, device, k, 0.0)


@inner
def _hear(state: State, device: int) -> None:
    """Signal and interference per PRB over the coming period."""
    devices, cells = state.devices, state.cells
    serving = devices[device].cell
    devices[device].signal_mw = 0.0
    if serving < 0:
        return
    interference_mw = cells[serving].jamming_mw
    for k in range(state.links.shape[1]):
        cell = state.links[device, k].cell
        received_mw = cells[cell].prb_mw * state.links[device, k].gain
        if cell == serving:
            devices[device].signal_mw = received_mw
        else:
            interference_mw += received_mw * cells[cell].load
    devices[device].disturbance_mw = cells[serving].noise_mw + interference_mw
    cells[serving].interference_mw += interference_mw


@kernel
def draw_links(state: State, step_s: float) -> None:
    """Draw every link afresh, and how fast its fading forgets."""
    devices = state.devices
    for device in range(devices.shape[0]):
        # People and leaves move around devices that stand still.
        speed_mps = max(STILL_MPS, float(devices[device].speed_mps))
        carrier_ghz = state.cells[state.links[device, 0].cell].carrier_ghz
        rho = jakes_correlation(speed_mps, carrier_ghz, step_s)
        devices[device].fade_rho, devices[device].fade_fresh = rho, fresh_part(rho)
        for k in range(state.links.shape[1]):
            update_gain(state, device, k, math.inf)


def share_shadows(state: State, rng: np.random.Generator) -> None:
    """Draw all shadowing anew, alike for devices that stand close together; in and out of sight it differs.

    Source: 3GPP TR 38.901, 7.4.4 (correlated over the places of devices, not between sites).
    """
    devices, links, cells = state.devices, state.links, state.cells
    fields = np.empty((2, *links.shape))
    for cell in range(len(cells)):
        device, k = np.nonzero(links["cell"] == cell)
        for is_los in (False, True):
            fields[int(is_los), device, k] = shadowing_field(
                devices["x_m"][device],
                devices["y_m"][device],
                correlation_m=correlation_distance_scalar_m(int(cells["environment"][cell]), is_los),
                rng=rng,
            )
    _take_shadows(state, fields)


@kernel
def _take_shadows(state: State, fields: NDArray[np.float64]) -> None:
    """Set each link's shadowing from the field, of unit variance, of its state: first out of sight, then in sight."""
    devices, cells = state.devices, state.cells
    for device in range(devices.shape[0]):
        for k in range(state.links.shape[1]):
            cell = state.links[device, k].cell
            distance_m = math.hypot(devices[device].x_m - cells[cell].x_m, devices[device].y_m - cells[cell].y_m)
            code, height_m = cells[cell].environment, cells[cell].height_m
            is_los = state.links[device, k].sight < los_probability_scalar(code, distance_m, height_m, DEVICE_HEIGHT_M)
            sigma_db = shadowing_sigma_scalar_db(
                code, is_los, distance_m, cells[cell].carrier_ghz, height_m, DEVICE_HEIGHT_M
            )
            state.links[device, k].shadow_db = sigma_db * fields[int(is_los), device, k]
            update_gain(state, device, k, 0.0)


@kernel
def move_devices(
    state: State, tiles: NDArray[np.int16], bounds: NDArray[np.float64], first: int, last: int, period_s: float
) -> None:
    """Move the devices `first` to `last - 1` by a period and bring their gains up to date; no cell changes."""
    for device in range(first, last):
        if state.devices[device].speed_mps > 0.0:
            _move(state, device, period_s, bounds)
            _find_candidates(state, device, tiles, bounds)


@kernel
def update_links(state: State, now_s: float) -> None:
    """Choose every device's serving cell for a period that begins at `now_s`, and what it hears there."""
    _set_powers(state)
    for device in range(state.devices.shape[0]):
        _attach(state, device, now_s)
        _hear(state, device)
