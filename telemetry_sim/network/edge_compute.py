"""One millisecond of one edge node's processors.

A node of one core serves each slice as one fast server of the slice's share. A node of several runs each task on one
core: as long as there are cores for all tasks each has a core to itself, and beyond that every core is shared between
the slices, so that a slice sees as many servers as the node has cores, each as fast as the slice's share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry_sim.compiled import inner
from telemetry_sim.compute import pop_task
from telemetry_sim.network.arrivals import RETURN_S, finish_task
from telemetry_sim.network.state import State
from telemetry_sim.queueing import share_capacity

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@inner
def compute_stretch(
    state: State,
    cell: int,
    scratch: NDArray[np.float64],
    free_s: NDArray[np.float64],
    begin_s: float,
    length_s: float,
) -> None:
    """Divide the node's cycles between the slices with tasks at hand, and run each slice's in order of arrival."""
    if state.cells[cell].edge_cores > 1:
        _compute_on_cores(state, cell, scratch, free_s, begin_s, length_s)
    else:
        _compute_at_once(state, cell, scratch, begin_s, length_s)


@inner
def _compute_at_once(state: State, cell: int, scratch: NDArray[np.float64], begin_s: float, length_s: float) -> None:
    rows, tasks = state.rows, state.tasks
    num_slices = scratch.shape[1]
    first = cell * num_slices
    capacity = state.cells[cell].edge_hz * state.cells[cell].edge_factor * length_s
    needs, dedicated, guaranteed, ceilings, granted = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4]
    for s in range(num_slices):
        row = first + s
        is_waiting = state.rows[row].task_count > 0 and tasks[row, rows[row].task_head].ready_s < begin_s + length_s
        needs[s] = state.rows[row].task_cycles if is_waiting else 0.0
        dedicated[s] = 0.0
        guaranteed[s] = rows[row].compute * capacity
        ceilings[s] = capacity
    share_capacity(needs, dedicated, guaranteed, ceilings, capacity, granted)
    for s in range(num_slices):
        if granted[s] > 0.0:
            _run_tasks(state, cell, first + s, granted[s] / length_s, begin_s, begin_s + length_s)


@inner
def _run_tasks(state: State, cell: int, row: int, speed_hz: float, begin_s: float, end_s: float) -> None:
    rows, tasks = state.rows, state.tasks
    cursor_s = begin_s
    used = 0.0
    while state.rows[row].task_count > 0:
        place = rows[row].task_head
        start_s = max(cursor_s, tasks[row, place].ready_s)
        if start_s >= end_s:
            break
        if start_s - tasks[row, place].born_s > rows[row].deadline_s:
            _count_leaving(state, row, start_s)
            pop_task(rows, tasks, row)
            continue
        done = min(state.rows[row].task_head_left, (end_s - start_s) * speed_hz)
        cursor_s = start_s + done / speed_hz
        used += done
        if done < state.rows[row].task_head_left:
            state.rows[row].task_head_left -= done
            break
        finish_task(state, row, cursor_s + RETURN_S - tasks[row, place].born_s)
        _count_leaving(state, row, cursor_s)
        pop_task(rows, tasks, row)
    rows[row].edge_cycles_used += used
    state.cells[cell].edge_cycles += used


@inner
def _count_leaving(state: State, row: int, now_s: float) -> None:
    state.rows[row].tasks_went += 1
    state.rows[row].tasks_went_s += now_s


@inner
def _compute_on_cores(
    state: State,
    cell: int,
    scratch: NDArray[np.float64],
    free_s: NDArray[np.float64],
    begin_s: float,
    length_s: float,
) -> None:
    num_slices = scratch.shape[1]
    first = cell * num_slices
    num_cores = state.cells[cell].edge_cores
    capacity = state.cells[cell].edge_hz * state.cells[cell].edge_factor * length_s
    needs, dedicated, guaranteed, ceilings, granted = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4]
    for s in range(num_slices):
        row = first + s
        ceilings[s] = capacity * _usable_cores(state, row, num_cores, begin_s + length_s) / num_cores
        needs[s] = min(state.rows[row].task_cycles, ceilings[s])
        dedicated[s] = 0.0
        guaranteed[s] = state.rows[row].compute * capacity
    share_capacity(needs, dedicated, guaranteed, ceilings, capacity, granted)
    for s in range(num_slices):
        if granted[s] > 0.0:
            # All the cores that the slice can use run at the same part of their speed.
            speed_hz = granted[s] / ceilings[s] * capacity / num_cores / length_s
            _run_on_cores(state, cell, first + s, speed_hz, free_s[:num_cores], begin_s, begin_s + length_s)


@inner
def _usable_cores(state: State, row: int, num_cores: int, end_s: float) -> int:
    """Tasks of the row that could run before a time, at most one per core."""
    tasks = state.tasks
    num = 0
    for n in range(state.rows[row].task_count):
        place = (state.rows[row].task_head + n) & (tasks.shape[1] - 1)
        if num == num_cores or tasks[row, place].ready_s >= end_s:
            break
        num += tasks[row, place].left_cycles > 0.0
    return num


@inner
def _run_on_cores(
    state: State,
    cell: int,
    row: int,
    speed_hz: float,
    free_s: NDArray[np.float64],
    begin_s: float,
    end_s: float,
) -> None:
    """Tasks in order of arrival, each on the core that is free first; one unfinished at the end goes on later."""
    rows, tasks = state.rows, state.tasks
    free_s[:] = begin_s
    used = 0.0
    for n in range(state.rows[row].task_count):
        place = (state.rows[row].task_head + n) & (tasks.shape[1] - 1)
        left = tasks[row, place].left_cycles
        if left <= 0.0:
            continue
        core = _free_first(free_s)
        start_s = max(free_s[core], tasks[row, place].ready_s)
        if start_s >= end_s:
            break
        if start_s - tasks[row, place].born_s > rows[row].deadline_s:
            tasks[row, place].left_cycles = 0.0
            _count_leaving(state, row, start_s)
            continue
        done = min(left, (end_s - start_s) * speed_hz)
        used += done
        free_s[core] = start_s + done / speed_hz
        tasks[row, place].left_cycles = left - done
        if done == left:
            finish_task(state, row, free_s[core] + RETURN_S - tasks[row, place].born_s)
            _count_leaving(state, row, free_s[core])
        else:
            free_s[core] = end_s
    while state.rows[row].task_count > 0 and tasks[row, state.rows[row].task_head].left_cycles <= 0.0:
        pop_task(rows, tasks, row)
    rows[row].edge_cycles_used += used
    state.cells[cell].edge_cycles += used


@inner
def _free_first(free_s: NDArray[np.float64]) -> int:
    core = 0
    for other in range(1, free_s.shape[0]):
        if free_s[other] < free_s[core]:
            core = other
    return core
