"""One millisecond of one cell: who needs what, who gets it, and what leaves in continuous time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from telemetry_sim.compiled import inner
from telemetry_sim.network.arrivals import drop_packet
from telemetry_sim.network.backlogged import ROUND_ROBIN, deactivate, note
from telemetry_sim.network.delay_bins import delay_bin
from telemetry_sim.network.state import Records, State
from telemetry_sim.queueing import pop_packet, share_capacity

if TYPE_CHECKING:
    from numpy.typing import NDArray

TTI_S = 0.001
MAX_DEVICES_PER_TTI = 16
"""Per slice: what the control channel can address."""
PICKS_AT_A_TIME = 4
"""Ranked in one look over the backlogged devices; most often fewer fill the millisecond."""
FAIRNESS_MS = 200.0
"""Memory of proportional fairness."""
CAP_BURST_MS = 20.0
"""How far a rate-capped device may run ahead."""
PICK = np.dtype([("device", np.int64)], align=True)
"""A device about to be served."""
_LATER = 1e12


@inner
def discard_late(state: State, device: int, row: int, now_s: float, rate_bps: float) -> None:
    """Drop the packets at the head that can't leave before they are useless, sent at `rate_bps` from now on."""
    devices = state.devices
    limit_s = state.rows[row].discard_s
    while devices[device].count > 0:
        start_s = max(now_s, devices[device].head_ready_s)
        if start_s + devices[device].head_left_bits / rate_bps - devices[device].head_arrival_s <= limit_s:
            return
        state.rows[row].packets_went_s += now_s
        drop_packet(state, device, pop_packet(state.devices, state.packets, device))


@inner
def _allowance_bits(state: State, device: int, row: int, until_s: float) -> float:
    """What a rate cap lets the device receive up to a time; infinite without a cap."""
    cap = state.rows[row].cap_bits_per_ms
    if cap == math.inf:
        return math.inf
    devices = state.devices
    elapsed_ms = (until_s - devices[device].tokens_at_s) * 1000.0
    devices[device].tokens_at_s = until_s
    devices[device].tokens_bits = min(devices[device].tokens_bits + cap * elapsed_ms, cap * CAP_BURST_MS)
    return float(devices[device].tokens_bits)


@inner
def _needed_prb(state: State, row: int, num_active: int, ceiling: float, begin_s: float) -> float:
    """PRBs that would empty the row's buffers within the millisecond, counted up to a ceiling."""
    devices = state.devices
    start = state.start[row]
    is_capped = state.rows[row].cap_bits_per_ms < math.inf
    total = 0.0
    for place in range(start, start + num_active):
        if state.active_ready_s[place] > begin_s and devices[state.active[place]].blocked_until_s > begin_s:
            continue
        need = state.active_need_prb[place]
        if is_capped:
            need = _capped_need_prb(state, state.active[place], row, begin_s)
        total += need
        if total >= ceiling:
            return ceiling
    return total


@inner
def _capped_need_prb(state: State, device: int, row: int, begin_s: float) -> float:
    """As `active_need_prb`, within the rate cap."""
    devices = state.devices
    rate = devices[device].bits_per_prb_ms
    if rate <= 0.0:
        return 0.0
    bits = min(devices[device].backlog_bits, _allowance_bits(state, device, row, begin_s + TTI_S))
    return float(bits / rate)


@inner
def serve_millisecond(
    state: State,
    cell: int,
    num_active: NDArray[np.int64],
    scratch: NDArray[np.float64],
    picks: Records,
    capacity: float,
    begin_s: float,
) -> None:
    """Divide one millisecond of the cell between its slices and serve each.

    With no guarantee anywhere in the cell there are no slices to the scheduler: one pool, run by the first slice's.
    """
    num_slices = scratch.shape[1]
    first = cell * num_slices
    guaranteed_total = 0.0
    num_waiting, waiting = 0, 0
    for s in range(num_slices):
        guaranteed_total += state.rows[first + s].guaranteed
        if num_active[first + s] > 0:
            num_waiting += 1
            waiting = s
    granted = scratch[4]
    is_pool = num_waiting > 1 and guaranteed_total <= 0.0
    begin, end = (waiting, waiting + 1) if num_waiting == 1 else (0, 1 if is_pool else num_slices)
    if is_pool:
        granted[0] = capacity
    elif num_waiting == 1:
        granted[waiting] = _alone(state, first, waiting, num_slices, capacity)
    else:
        _grant(state, first, num_active, scratch, capacity, begin_s)
    # One place that serves: it is inlined, and several copies of it crowd the instruction cache.
    for s in range(begin, end):
        if granted[s] > 0.0 or num_waiting == 1 or is_pool:
            last = num_slices if is_pool else s + 1
            _serve_rows(state, first + s, first + last, num_active, picks, granted[s], begin_s)


@inner
def _grant(
    state: State,
    first: int,
    num_active: NDArray[np.int64],
    scratch: NDArray[np.float64],
    capacity: float,
    begin_s: float,
) -> None:
    """Divide the PRBs between slices that wait, into `scratch[4]`."""
    rows = state.rows
    needs, dedicated, guaranteed, ceilings, granted = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4]
    for s in range(needs.shape[0]):
        row = first + s
        dedicated[s] = rows[row].dedicated * capacity
        guaranteed[s] = rows[row].guaranteed * capacity
        ceilings[s] = rows[row].ceiling * capacity
        needs[s] = _needed_prb(state, row, num_active[row], ceilings[s], begin_s) if num_active[row] else 0.0
    share_capacity(needs, dedicated, guaranteed, ceilings, capacity, granted)


@inner
def _alone(state: State, first: int, waiting: int, num_slices: int, capacity: float) -> float:
    """PRBs of a slice while all the others are idle: all but what is dedicated to them, up to its ceiling."""
    free = 1.0
    for s in range(num_slices):
        if s != waiting:
            free -= state.rows[first + s].dedicated
    return float(capacity * min(free, state.rows[first + waiting].ceiling))


@inner
def _serve_rows(
    state: State,
    first: int,
    last: int,
    num_active: NDArray[np.int64],
    picks: Records,
    num_prb: float,
    begin_s: float,
) -> None:
    """Serve the devices of some rows one after another, each with all the PRBs, until the millisecond is full."""
    cursor_s, end_s = begin_s, begin_s + TTI_S
    is_in_turns = state.rows[first].scheduler == ROUND_ROBIN
    num_batches = 1 if is_in_turns else MAX_DEVICES_PER_TTI // PICKS_AT_A_TIME * (last - first)
    for _ in range(num_batches):
        is_alone = not is_in_turns and last == first + 1 and num_active[first] == 1
        most = 1 if is_alone else PICKS_AT_A_TIME
        if is_in_turns:
            most = _take_turns(state, first, last, num_active, picks)
        elif not is_alone:
            _withhold_capped(state, first, last, num_active, end_s)
        num_served = 0
        while num_served < most and cursor_s < end_s:
            limit_s = end_s
            if is_in_turns:
                limit_s = cursor_s + (end_s - cursor_s) / (most - num_served)
            elif not _pick_best(state, first, last, num_active, picks, num_served, is_alone, begin_s):
                break
            device = picks[num_served].device
            num_served += 1
            row = first if last == first + 1 else first + state.devices[device].slice
            if _is_servable(state, device, row, end_s):
                cursor_s = _serve_device(state, device, row, num_prb, cursor_s, limit_s)
        _put_back(state, first, last, num_active, picks, num_served)
        if is_alone or num_served < most or cursor_s >= end_s:
            return


@inner
def _put_back(
    state: State, first: int, last: int, num_active: NDArray[np.int64], picks: Records, num_picks: int
) -> None:
    """After their service devices leave the backlogged ones or are noted anew."""
    for n in range(num_picks):
        device = picks[n].device
        row = first if last == first + 1 else first + state.devices[device].slice
        if state.devices[device].count == 0:
            deactivate(state, device, row, num_active)
        else:
            note(state, device, row)


@inner
def _is_servable(state: State, device: int, row: int, end_s: float) -> bool:
    devices = state.devices
    return (
        devices[device].bits_per_prb_ms > 0.0
        and devices[device].blocked_until_s < end_s
        and state.devices[device].head_ready_s < end_s
        and _allowance_bits(state, device, row, end_s) > 0.0
    )


@inner
def _take_turns(state: State, first: int, last: int, num_active: NDArray[np.int64], picks: Records) -> int:
    """Fill `picks` with the devices whose turn it is; their number."""
    total = 0
    for row in range(first, last):
        total += num_active[row]
    num_picks = min(total, MAX_DEVICES_PER_TTI * (last - first))
    for n in range(num_picks):
        index = (state.rows[first].turn + n) % total
        for row in range(first, last):
            if index < num_active[row]:
                picks[n].device = state.active[state.start[row] + index]
                break
            index -= num_active[row]
    state.rows[first].turn += num_picks
    return num_picks


@inner
def _withhold_capped(state: State, first: int, last: int, num_active: NDArray[np.int64], end_s: float) -> None:
    """Keep devices that have used up what their row's rate cap allows from being picked."""
    for row in range(first, last):
        if state.rows[row].cap_bits_per_ms == math.inf:
            continue
        start = state.start[row]
        for place in range(start, start + num_active[row]):
            device = state.active[place]
            note(state, device, row)
            if state.active_ready_s[place] < end_s and _allowance_bits(state, device, row, end_s) <= 0.0:
                state.active_ready_s[place] = math.inf


@inner
def _pick_best(
    state: State,
    first: int,
    last: int,
    num_active: NDArray[np.int64],
    picks: Records,
    pick: int,
    is_alone: bool,
    begin_s: float,
) -> bool:
    """Write the device that the scheduler prefers, the first of equals, into a pick; False where none can be served."""
    if is_alone:
        picks[pick].device = state.active[state.start[first]]
        return True
    best, best_row = math.inf, -1
    for row in range(first, last):
        start = state.start[row]
        least = _least_rank(state.active_ready_s, state.active_rank, start, start + num_active[row], begin_s)
        if least < best:
            best, best_row = least, row
    if best_row < 0:
        return False
    place = state.start[best_row]
    while _rank(state.active_ready_s[place], state.active_rank[place], begin_s) != best:
        place += 1
    picks[pick].device = state.active[place]
    # Not to be found again before all of the batch have been served.
    state.active_ready_s[place] = math.inf
    return True


@inner
def _least_rank(
    ready_s: NDArray[np.float64], ranks: NDArray[np.float64], start: int, stop: int, begin_s: float
) -> float:
    """Least of the ranks at some places; infinite where none can be served."""
    least = math.inf
    # Unsigned, so that no place is looked up from the end: the loop stays free of that test.
    for place in range(np.uint64(start), np.uint64(stop)):
        rank = _rank(ready_s[place], ranks[place], begin_s)
        least = min(least, rank)
    return least


@inner
def _rank(ready_s: float, rank: float, begin_s: float) -> float:
    """The lower, the sooner served; infinite for what is not ready within the millisecond."""
    # Not there yet: after everybody who is, the earliest first.
    later = _LATER + ready_s if ready_s < begin_s + TTI_S else math.inf
    return rank if ready_s <= begin_s else later


@inner
def _serve_device(state: State, device: int, row: int, num_prb: float, cursor_s: float, limit_s: float) -> float:
    """Send a device's packets until its buffer, its allowance or the time is used up; the time then."""
    devices = state.devices
    rate_bps = num_prb * devices[device].bits_per_prb_ms * 1000.0
    # At the cell's full rate: what is granted now says nothing about what may be lent in the next milliseconds.
    full_bps = state.cells[devices[device].cell].num_prb * devices[device].bits_per_prb_ms * 1000.0
    discard_late(state, device, row, cursor_s, full_bps)
    allowance = devices[device].tokens_bits if state.rows[row].cap_bits_per_ms < math.inf else math.inf
    cursor_s = max(cursor_s, devices[device].blocked_until_s)
    sent_bits, busy_s = 0.0, 0.0
    while devices[device].count > 0:
        start_s = max(cursor_s, devices[device].head_ready_s)
        if start_s >= limit_s:
            break
        room_bits = min((limit_s - start_s) * rate_bps, allowance - sent_bits)
        if room_bits <= 0.0:
            break
        left_bits = devices[device].head_left_bits
        part_bits = min(left_bits, room_bits)
        cursor_s = start_s + part_bits / rate_bps
        busy_s += part_bits / rate_bps
        sent_bits += part_bits
        if part_bits < left_bits:
            devices[device].head_left_bits = left_bits - part_bits
            break
        _deliver(state, device, row, cursor_s)
    if allowance < math.inf:
        devices[device].tokens_bits -= sent_bits
    devices[device].average_bits += sent_bits / FAIRNESS_MS
    devices[device].busy_s += busy_s
    devices[device].prb_ms += busy_s * 1000.0 * num_prb
    state.rows[row].prb_ms += busy_s * 1000.0 * num_prb
    return cursor_s


@inner
def _deliver(state: State, device: int, row: int, now_s: float) -> None:
    devices, rows = state.devices, state.rows
    delay_s = now_s - state.devices[device].head_arrival_s
    bits = pop_packet(state.devices, state.packets, device)
    devices[device].served_bits += bits
    devices[device].served_packets += 1
    devices[device].delay_sum_s += delay_s
    rows[row].packets_went_s += now_s
    if delay_s <= rows[row].budget_s:
        devices[device].in_time_bits += bits
    state.delay_counts[row, delay_bin(delay_s * 1000.0, state.delay_counts.shape[1])] += 1
