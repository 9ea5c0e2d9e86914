"""What comes in during a period: packets through the backhaul, and compute tasks on their way to a processor."""

from __future__ import annotations

import math

from telemetry_sim.compiled import inner
from telemetry_sim.compute import CLOUD_CORE_GHZ, push_task
from telemetry_sim.energy import computing_energy_j
from telemetry_sim.network.delay_bins import delay_bin
from telemetry_sim.network.state import State
from telemetry_sim.queueing import pop_packet, push_packet
from telemetry_sim.random_bits import exponential, uniform
from telemetry_sim.traffic import ON_OFF, gap_s, packet_bits

BACKHAUL_BUFFER_S = 0.25
"""Longest queue of the backhaul's router; what finds it full is lost."""
UPLINK_SHARE = 0.25
"""Part of a TDD frame that carries the uplink."""
DEVICE_UPLINK_PRB = 12.0
"""PRBs that one device's power reaches."""
LEAST_FACTOR = 1e-3
RETURN_S = 0.001
"""A result's way back to its device."""


@inner
def next_packet_after(state: State, device: int, factor: float, now_s: float) -> float:
    """When the source's next packet comes; draws on and off phases as needed."""
    devices = state.devices
    kind = devices[device].traffic
    rate = devices[device].packets_per_s
    if kind != ON_OFF:
        return now_s + gap_s(state.rng, device, kind, rate, factor, devices[device].position)
    on_s, off_s = devices[device].on_s, devices[device].off_s
    peak = rate * (on_s + off_s) / on_s
    at_s = now_s + gap_s(state.rng, device, kind, peak, factor, 0)
    while at_s > devices[device].phase_end_s and at_s < math.inf:
        begin_s = devices[device].phase_end_s + off_s * exponential(state.rng, device)
        devices[device].phase_end_s = begin_s + on_s * exponential(state.rng, device)
        at_s = begin_s + gap_s(state.rng, device, kind, peak, factor, 0)
    return at_s


@inner
def drop_packet(state: State, device: int, size_bits: float) -> None:
    """Count a packet as lost."""
    state.devices[device].dropped_bits += size_bits
    state.devices[device].dropped_packets += 1


@inner
def drop_queue(state: State, device: int, row: int, now_s: float) -> None:
    """Count everything that waits as lost."""
    while state.devices[device].count > 0:
        state.rows[row].packets_went_s += now_s
        drop_packet(state, device, pop_packet(state.devices, state.packets, device))


@inner
def receive_packets(state: State, device: int, cell: int, row: int, until_s: float) -> None:
    """Take in a device's packets up to a time; `cell` is -1 for a device that no cell serves."""
    devices = state.devices
    factor = max(LEAST_FACTOR, devices[device].demand_factor * state.rows[row].demand_factor)
    while devices[device].next_packet_s < until_s:
        at_s = devices[device].next_packet_s
        kind, position = devices[device].traffic, devices[device].position
        bits = packet_bits(state.rng, device, kind, devices[device].size_bits, factor, position)
        devices[device].position = position + 1
        devices[device].offered_bits += bits
        devices[device].offered_packets += 1
        if cell < 0 or not devices[device].is_admitted or not _cross_backhaul(state, device, cell, at_s, bits):
            drop_packet(state, device, bits)
        else:
            state.rows[row].packets_came_s += at_s
        devices[device].next_packet_s = next_packet_after(state, device, factor, at_s)


@inner
def _cross_backhaul(state: State, device: int, cell: int, at_s: float, bits: float) -> bool:
    """Whether the packet reached the device's buffer."""
    wait_s = _send_over_backhaul(state, cell, at_s, bits)
    return wait_s >= 0.0 and push_packet(state.devices, state.packets, device, at_s, at_s + wait_s, bits)


@inner
def _send_over_backhaul(state: State, cell: int, at_s: float, bits: float) -> float:
    """Time in the backhaul's queue, sending included; -1 when it is full."""
    cells = state.cells
    rate_bps = cells[cell].backhaul_bps * cells[cell].backhaul_factor
    start_s = max(at_s, cells[cell].backhaul_free_s)
    if rate_bps <= 0.0 or start_s - at_s > BACKHAUL_BUFFER_S:
        return -1.0
    cells[cell].backhaul_free_s = start_s + bits / rate_bps
    wait_s = cells[cell].backhaul_free_s - at_s
    cells[cell].backhaul_bits += bits
    cells[cell].backhaul_wait_s += wait_s
    cells[cell].backhaul_packets += 1
    return float(wait_s)


@inner
def _send_to_core(state: State, cell: int, at_s: float, bits: float) -> float:
    """As `_send_over_backhaul`, in the direction that packets for devices don't take."""
    cells = state.cells
    rate_bps = cells[cell].backhaul_bps * cells[cell].backhaul_factor
    start_s = max(at_s, cells[cell].backhaul_up_free_s)
    if rate_bps <= 0.0 or start_s - at_s > BACKHAUL_BUFFER_S:
        return -1.0
    cells[cell].backhaul_up_free_s = start_s + bits / rate_bps
    cells[cell].backhaul_up_bits += bits
    return float(cells[cell].backhaul_up_free_s - at_s)


@inner
def issue_tasks(state: State, device: int, cell: int, row: int, until_s: float) -> None:
    """Start a device's compute tasks up to a time, each where the policy's split sends it."""
    devices, rows = state.devices, state.rows
    factor = max(LEAST_FACTOR, rows[row].task_factor)
    while devices[device].next_task_s < until_s:
        at_s = devices[device].next_task_s
        devices[device].next_task_s = at_s + exponential(state.rng, device) / (devices[device].tasks_per_s * factor)
        chance = uniform(state.rng, device)
        size = -math.log(chance) if devices[device].has_exponential_tasks else 0.5 + chance
        cycles = devices[device].task_cycles * size
        rows[row].tasks_offered += 1
        place = uniform(state.rng, device)
        if place < rows[row].offload_device:
            _compute_on_device(state, device, row, at_s, cycles)
        elif devices[device].is_admitted:
            is_edge = place < rows[row].offload_device + rows[row].offload_edge
            _offload(state, device, cell, row, at_s, cycles, is_edge)


@inner
def finish_task(state: State, row: int, delay_s: float) -> None:
    """Count a finished task."""
    rows = state.rows
    rows[row].tasks_done += 1
    rows[row].task_delay_s += delay_s
    rows[row].tasks_in_time += delay_s <= rows[row].deadline_s
    counts = state.task_delay_counts
    counts[row, delay_bin(delay_s * 1000.0, counts.shape[1])] += 1


@inner
def _compute_on_device(state: State, device: int, row: int, at_s: float, cycles: float) -> None:
    devices = state.devices
    start_s = max(at_s, devices[device].cpu_free_s)
    if start_s - at_s > state.rows[row].deadline_s:
        return
    devices[device].cpu_free_s = start_s + cycles / (devices[device].cpu_ghz * 1e9)
    devices[device].energy_j += computing_energy_j(cycles, devices[device].cpu_ghz)
    finish_task(state, row, devices[device].cpu_free_s - at_s)


@inner
def _offload(state: State, device: int, cell: int, row: int, at_s: float, cycles: float, is_edge: bool) -> None:
    ready_s = _cross_uplink(state, device, cell, row, at_s)
    if ready_s < 0.0:
        return
    if is_edge:
        state.rows[row].edge_cycles_offered += cycles
        if push_task(state.rows, state.tasks, row, at_s, ready_s, cycles):
            state.rows[row].tasks_came += 1
            state.rows[row].tasks_came_s += ready_s
        return
    wait_s = _send_to_core(state, cell, ready_s, state.devices[device].task_bits)
    if wait_s >= 0.0:
        away_s = wait_s + 2.0 * state.cells[cell].backhaul_s + cycles / (CLOUD_CORE_GHZ * 1e9)
        finish_task(state, row, ready_s + away_s + RETURN_S - at_s)


@inner
def _cross_uplink(state: State, device: int, cell: int, row: int, at_s: float) -> float:
    """When a task's input has reached the cell; -1 when it can't in time."""
    devices, cells = state.devices, state.cells
    per_prb_bps = devices[device].bits_per_prb_ms * 1000.0
    start_s = max(at_s, cells[cell].uplink_free_s, devices[device].blocked_until_s)
    if per_prb_bps <= 0.0 or start_s - at_s > state.rows[row].deadline_s:
        return -1.0
    num_prb = cells[cell].num_prb * UPLINK_SHARE
    bits = devices[device].task_bits
    cells[cell].uplink_free_s = start_s + bits / (num_prb * per_prb_bps)
    sending_s = bits / (min(num_prb, DEVICE_UPLINK_PRB) * per_prb_bps)
    devices[device].uplink_s += sending_s
    return float(start_s + sending_s)


@inner
def next_event_s(state: State, device: int) -> float:
    """When something next comes in at a device."""
    return float(min(state.devices[device].next_packet_s, state.devices[device].next_task_s))
