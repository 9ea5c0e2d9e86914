"""One millisecond of one edge node's processors."""

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
def compute_stretch(state: State, cell: int, scratch: NDArray[np.float64], begin_s: float, length_s: float) -> None:
    """Divide the node's cycles between the slices with tasks at hand, and run each slice's in order of arrival."""
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
            pop_task(rows, tasks, row)
            continue
        done = min(state.rows[row].task_head_left, (end_s - start_s) * speed_hz)
        cursor_s = start_s + done / speed_hz
        used += done
        if done < state.rows[row].task_head_left:
            state.rows[row].task_head_left -= done
            break
        finish_task(state, row, cursor_s + RETURN_S - tasks[row, place].born_s)
        pop_task(rows, tasks, row)
    rows[row].edge_cycles_used += used
    state.cells[cell].edge_cycles += used
