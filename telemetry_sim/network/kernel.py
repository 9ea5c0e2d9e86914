"""One report period of a range of cells, compiled.

What happens, in this order:

Before the kernel, once a period (1 s): faults and load factors take effect, actions already have; devices move; gains,
interference and handovers follow (`links.update_links`); devices are sorted by the (cell, slice) that serves them.
Interference is weighted by the other cells' PRB use of the *previous* period, so within a period cells don't touch
each other: any split of the cells over threads gives the same bytes.

1. Every step (100 ms), for each device of the cell: its fading gain moves on; SINR, CQI, MCS and the bits of one
   PRB follow from it; packets too old to be of use are dropped; proportional fairness forgets a little; a device whose
   next arrival falls into the step is noted under the millisecond of it.
2. Every millisecond of the step:
   a. Arrivals of that millisecond, each at its own continuous time: packets cross the backhaul (a first-in-first-out
      server of finite rate and buffer) into the device's bounded buffer, with the time at which they become ready;
      tasks start on the device, or cross the uplink (one server per cell) to the edge queue or the cloud.
   b. The PRBs, less what signalling takes, are divided between slices by need, guarantee and ceiling
      (`queueing.share_capacity`), or stay one pool where no slice has a guarantee.
   c. Inside a slice (or the pool) its scheduler picks devices one after another; each is sent packets with all of the
      slice's PRBs from max(the cursor, ready) on. A departure's time is continuous; a packet unfinished at the end
      of the millisecond goes on in a later one. Delay is departure less arrival, backhaul queueing included.
   d. The edge node's cycles are divided and run in the same way.
3. After the last step each device's energy of the period is summed and its battery drained.

Devices that no cell serves keep receiving traffic, which is lost. Every packet offered is served, dropped or waiting.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from telemetry_sim.compiled import inner, kernel
from telemetry_sim.energy import DEVICE_IDLE_W, DEVICE_RECEIVE_W, DEVICE_SLEEP_W
from telemetry_sim.network.arrivals import drop_queue, issue_tasks, next_event_s, receive_packets
from telemetry_sim.network.backlogged import activate, note
from telemetry_sim.network.edge_compute import compute_stretch
from telemetry_sim.network.links import RICIAN_K
from telemetry_sim.network.scheduling import (
    FAIRNESS_MS,
    MAX_DEVICES_PER_TTI,
    PICK,
    TTI_S,
    discard_late,
    serve_millisecond,
)
from telemetry_sim.network.state import TABLE_LOW_DB, TABLE_STEP_DB, LinkTable, Records, State
from telemetry_sim.radio.fading import next_gain_scalar, rician_power_scalar, steady_and_scattered
from telemetry_sim.random_bits import rough_normal

if TYPE_CHECKING:
    from numpy.typing import NDArray

INACTIVITY_S = 0.1
"""A device listens so long after its last reception before it sleeps; charged once per reception."""
NUM_BRANCHES = 8.0
"""Independent fades that a wideband link averages: two receive antennas times four coherence bandwidths of 5 MHz."""
_FADE_SPREAD = 1.0 / math.sqrt(NUM_BRANCHES)
_FLOOR_MW = 1e-30
_STEADY, _SCATTERED = steady_and_scattered(RICIAN_K)
_DB_PER_NEPER = 10.0 / math.log(10.0)


@kernel
def sort_devices(state: State) -> None:
    """List each row's devices; those that no cell serves come last."""
    devices, start = state.devices, state.start
    num_rows = start.shape[0] - 2
    num_slices = num_rows // state.cells.shape[0]
    start[:] = 0
    for device in range(devices.shape[0]):
        start[_row_of(state, device, num_rows, num_slices) + 1] += 1
    for row in range(num_rows + 1):
        start[row + 1] += start[row]
    place = start.copy()
    for device in range(devices.shape[0]):
        row = _row_of(state, device, num_rows, num_slices)
        state.members[place[row]] = device
        state.active_place[device] = -1
        place[row] += 1


@inner
def _row_of(state: State, device: int, num_rows: int, num_slices: int) -> int:
    cell = state.devices[device].cell
    if cell < 0 or not state.devices[device].is_on:
        return num_rows
    return int(cell) * num_slices + int(state.devices[device].slice)


@kernel
def run_detached(state: State, begin_s: float, end_s: float) -> None:
    """What is sent to devices that no cell serves is lost; a dead device is sent nothing."""
    start = state.start
    num_rows = start.shape[0] - 2
    for place in range(start[num_rows], start[num_rows + 1]):
        device = state.members[place]
        drop_queue(state, device, state.devices[device].slice, begin_s)
        if state.devices[device].is_on:
            receive_packets(state, device, -1, state.devices[device].slice, end_s)
        else:
            state.devices[device].next_packet_s = max(state.devices[device].next_packet_s, end_s)
        state.devices[device].next_task_s = max(state.devices[device].next_task_s, end_s)


@kernel
def run_cells(
    state: State, table: LinkTable, first: int, last: int, begin_s: float, num_steps: int, step_s: float
) -> None:
    """Bring the cells `first` to `last - 1` to the end of the period."""
    num_slices = (state.start.shape[0] - 2) // state.cells.shape[0]
    scratch = np.zeros((5, num_slices))
    picks = np.zeros(MAX_DEVICES_PER_TTI * num_slices, PICK)
    num_active = np.zeros(state.start.shape[0], np.int64)
    num_millis = int(step_s / TTI_S + 0.5)
    events = np.full(num_millis, -1, np.int32)
    free_s = np.zeros(state.cells.edge_cores.max())
    for cell in range(first, last):
        for step in range(num_steps):
            step_begin_s = begin_s + step * step_s
            _open_step(state, table, cell, num_slices, num_active, events, step_begin_s, step_s, step == 0)
            _run_step(state, cell, num_slices, num_active, events, scratch, picks, free_s, step_begin_s, step_s)
        _close_period(state, cell, num_slices, num_steps * step_s)


@inner
def _open_step(
    state: State,
    table: LinkTable,
    cell: int,
    num_slices: int,
    num_active: NDArray[np.int64],
    events: NDArray[np.int32],
    begin_s: float,
    step_s: float,
    is_first: bool,
) -> None:
    events[:] = -1
    forget = math.exp(-1000.0 * step_s / FAIRNESS_MS)

    for row in range(cell * num_slices, (cell + 1) * num_slices):
        for place in range(state.start[row], state.start[row + 1]):
            device = state.members[place]
            _update_link(state, table, cell, device)
            discard_late(state, device, row, begin_s, math.inf)
            state.devices[device].average_bits *= forget
            if state.active_place[device] >= 0:
                note(state, device, row)
            elif is_first:
                activate(state, device, row, num_active)
            _note_event(state, device, events, begin_s, step_s)


@inner
def _note_event(state: State, device: int, events: NDArray[np.int32], begin_s: float, step_s: float) -> None:
    """Put the device under the millisecond of its next arrival, if that falls into the step."""
    num_millis = events.shape[0]
    at_s = next_event_s(state, device)
    if at_s < begin_s + step_s:
        millisecond = min(num_millis - 1, max(0, int((at_s - begin_s) / TTI_S)))
        state.event_next[device] = events[millisecond]
        events[millisecond] = device


@inner
def _update_link(state: State, table: LinkTable, cell: int, device: int) -> None:
    devices = state.devices
    real, imaginary = next_gain_scalar(
        devices[device].fade_real,
        devices[device].fade_imaginary,
        devices[device].fade_rho,
        devices[device].fade_fresh,
        rough_normal(state.rng, device),
        rough_normal(state.rng, device),
    )
    devices[device].fade_real, devices[device].fade_imaginary = real, imaginary
    steady, scattered = (_STEADY, _SCATTERED) if devices[device].is_los else (0.0, 1.0)
    # The band and the antennas average several fades: the mean stays, the variance shrinks by their number.
    fade = 1.0 + (rician_power_scalar(real, imaginary, steady, scattered) - 1.0) * _FADE_SPREAD
    signal_mw = devices[device].signal_mw * fade
    # In single precision (1e-5 dB) a logarithm takes half the time, and none is taken more often.
    ratio = np.float32(max(signal_mw, _FLOOR_MW) / devices[device].disturbance_mw)
    sinr_db = _DB_PER_NEPER * math.log(ratio)
    entry = int((sinr_db - TABLE_LOW_DB) / TABLE_STEP_DB)
    entry = min(max(entry, 0), table.bits_per_slot.shape[0] - 1)
    devices[device].sinr_db = sinr_db
    devices[device].sinr_sum_db += sinr_db
    devices[device].bits_per_prb_ms = table.bits_per_slot[entry] * state.cells[cell].slots_per_ms


@inner
def _run_step(
    state: State,
    cell: int,
    num_slices: int,
    num_active: NDArray[np.int64],
    events: NDArray[np.int32],
    scratch: NDArray[np.float64],
    picks: Records,
    free_s: NDArray[np.float64],
    begin_s: float,
    step_s: float,
) -> None:
    first = cell * num_slices
    is_serving = state.cells[cell].is_up and not state.cells[cell].is_asleep
    capacity = max(0.0, state.cells[cell].num_prb - state.cells[cell].lost_prb) if is_serving else 0.0
    for millisecond in range(events.shape[0]):
        at_s = begin_s + millisecond * TTI_S
        if events[millisecond] >= 0:
            _take_arrivals(state, cell, first, num_active, events, millisecond, begin_s, step_s)
        num_waiting = 0
        num_tasks = 0
        for row in range(first, first + num_slices):
            num_waiting += num_active[row]
            num_tasks += state.rows[row].task_count
        if num_waiting > 0 and capacity > 0.0:
            serve_millisecond(state, cell, num_active, scratch, picks, capacity, at_s)
        if num_tasks > 0:
            compute_stretch(state, cell, scratch, free_s, at_s, TTI_S)


@inner
def _take_arrivals(
    state: State,
    cell: int,
    first: int,
    num_active: NDArray[np.int64],
    events: NDArray[np.int32],
    millisecond: int,
    begin_s: float,
    step_s: float,
) -> None:
    until_s = begin_s + (millisecond + 1) * TTI_S
    device = events[millisecond]
    while device >= 0:
        following = state.event_next[device]
        row = first + state.devices[device].slice
        receive_packets(state, device, cell, row, until_s)
        issue_tasks(state, device, cell, row, until_s)
        activate(state, device, row, num_active)
        if next_event_s(state, device) >= until_s:
            _note_later_event(state, device, events, millisecond, begin_s, step_s)
        device = following


@inner
def _note_later_event(
    state: State, device: int, events: NDArray[np.int32], millisecond: int, begin_s: float, step_s: float
) -> None:
    at_s = next_event_s(state, device)
    if at_s < begin_s + step_s and millisecond + 1 < events.shape[0]:
        later = min(events.shape[0] - 1, max(millisecond + 1, int((at_s - begin_s) / TTI_S)))
        state.event_next[device] = events[later]
        events[later] = device


@inner
def _close_period(state: State, cell: int, num_slices: int, period_s: float) -> None:
    devices, rows = state.devices, state.rows
    for row in range(cell * num_slices, (cell + 1) * num_slices):
        state.cells[cell].prb_ms += rows[row].prb_ms
        for place in range(state.start[row], state.start[row + 1]):
            device = state.members[place]
            rows[row].offered_bits += devices[device].offered_bits
            rows[row].served_bits += devices[device].served_bits
            rows[row].in_time_bits += devices[device].in_time_bits
            rows[row].dropped_bits += devices[device].dropped_bits
            _spend_energy(state, device, period_s)


@inner
def _spend_energy(state: State, device: int, period_s: float) -> None:
    devices = state.devices
    busy_s = min(period_s, devices[device].busy_s)
    awake_s = min(period_s - busy_s, INACTIVITY_S * devices[device].served_packets)
    asleep_s = period_s - busy_s - awake_s
    receiving_j = busy_s * DEVICE_RECEIVE_W + awake_s * DEVICE_IDLE_W + asleep_s * DEVICE_SLEEP_W
    devices[device].energy_j += receiving_j + devices[device].uplink_s * devices[device].transmit_w
    if not math.isnan(devices[device].battery_j):
        devices[device].battery_j = max(0.0, devices[device].battery_j - devices[device].energy_j)
        devices[device].is_on = devices[device].battery_j > 0.0
