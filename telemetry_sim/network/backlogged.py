"""Each row's backlogged devices, and what the scheduler looks at of them, side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from telemetry_sim.compiled import inner

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from telemetry_sim.network.state import State

ROUND_ROBIN, PROPORTIONAL_FAIR, EARLIEST_DEADLINE = 0, 1, 2


@inner
def activate(state: State, device: int, row: int, num_active: NDArray[np.int64]) -> None:
    """Enter a device among its row's backlogged ones, or note that its backlog has grown there."""
    place = state.active_place[device]
    if place >= 0:
        place += state.start[row]
        if state.active_ready_s[place] < math.inf:
            state.active_need_prb[place] = state.devices[device].backlog_bits / state.devices[device].bits_per_prb_ms
        else:
            note(state, device, row)
    elif state.devices[device].count > 0:
        state.active[state.start[row] + num_active[row]] = device
        state.active_place[device] = num_active[row]
        num_active[row] += 1
        note(state, device, row)


@inner
def note(state: State, device: int, row: int) -> None:
    """Note side by side what the scheduler looks at every millisecond; it changes only with the device's own events."""
    devices = state.devices
    place = state.start[row] + state.active_place[device]
    rate = devices[device].bits_per_prb_ms
    if rate <= 0.0:
        state.active_ready_s[place] = math.inf
        state.active_need_prb[place] = 0.0
        return
    state.active_ready_s[place] = max(devices[device].head_ready_s, devices[device].blocked_until_s)
    state.active_need_prb[place] = devices[device].backlog_bits / rate
    if state.rows[row].scheduler == EARLIEST_DEADLINE:
        state.active_rank[place] = devices[device].head_arrival_s + state.rows[row].budget_s
    else:
        state.active_rank[place] = -rate / (devices[device].average_bits + 1.0)


@inner
def deactivate(state: State, device: int, row: int, num_active: NDArray[np.int64]) -> None:
    start = state.start[row]
    place = state.active_place[device]
    num_active[row] -= 1
    end = start + num_active[row]
    last = state.active[end]
    state.active[start + place] = last
    state.active_ready_s[start + place] = state.active_ready_s[end]
    state.active_rank[start + place] = state.active_rank[end]
    state.active_need_prb[start + place] = state.active_need_prb[end]
    state.active_place[last] = place
    state.active_place[device] = -1
