"""Control actions checked and written into the network's state."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from telemetry_sim.actions import CellAction, Scheduler, SliceAction
from telemetry_sim.errors import ActionInvalid, ScenarioInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry_sim.actions import ControlAction
    from telemetry_sim.network.state import State
    from telemetry_sim.topology import Topology

SCHEDULER_CODE = {Scheduler.ROUND_ROBIN: 0, Scheduler.PROPORTIONAL_FAIR: 1, Scheduler.EARLIEST_DEADLINE_FIRST: 2}
CHANGE_PRB = 0.3
"""Signalling of one changed slice in the second after: its devices are reconfigured."""
MOVE_LOSS = 0.5
"""Part of the compute share moved between slices that stands idle for a second: containers are resized."""


def target_cells(actions: Sequence[ControlAction], topology: Topology) -> tuple[int, ...]:
    """Indices of the cells that the actions name, each once; raises ActionInvalid."""
    seen: set[object] = set()
    cells: list[int] = []
    for action in actions:
        try:
            cell = topology.cell_index(action.cell)
            slice_index = topology.slice_index(action.slice) if isinstance(action, SliceAction) else -1
        except ScenarioInvalid as error:
            raise ActionInvalid(str(error)) from error
        if (cell, slice_index) in seen:
            raise ActionInvalid(f"cell {action.cell}: two actions for the same target {slice_index}; one is allowed")
        seen.add((cell, slice_index))
        if cell not in cells:
            cells.append(cell)
    return tuple(cells)


def check_sums(actions: Sequence[ControlAction], topology: Topology, state: State) -> None:
    """Raise ActionInvalid where a cell's guarantees would pass 100 % once the actions are in force."""
    num_slices = len(topology.slices)
    for field, in_force in (
        ("dedicated_pct", state.rows["dedicated"]),
        ("min_pct", state.rows["guaranteed"]),
        ("compute_pct", state.rows["compute"]),
    ):
        sums = (in_force * 100.0).reshape(-1, num_slices).copy()
        for action in actions:
            if isinstance(action, SliceAction):
                cell, s = topology.cell_index(action.cell), topology.slice_index(action.slice)
                sums[cell, s] = getattr(action, field)
        totals = sums.sum(axis=1)
        worst = int(np.argmax(totals))
        if totals[worst] > 100.0 + 1e-6:
            cell_id = topology.cells[worst].id
            raise ActionInvalid(
                f"cell {cell_id}: the sum of {field} over its slices is {totals[worst]:.0f}, at most 100"
            )


def enforce(action: ControlAction, topology: Topology, state: State) -> None:
    """Put one action into force; the change itself costs signalling and compute for a second."""
    cell = topology.cell_index(action.cell)
    if isinstance(action, CellAction):
        state.cells["power_step_db"][cell] = action.tx_power_step_db
        state.cells["is_asleep"][cell] = action.sleep
        state.cells["offset_db"][cell] = action.handover_offset_db
        return
    _enforce_slice(action, cell, cell * len(topology.slices) + topology.slice_index(action.slice), state)


def _enforce_slice(action: SliceAction, cell: int, row: int, state: State) -> None:
    rows = state.rows
    cap = action.ue_rate_cap_mbps
    wanted = (
        (rows["dedicated"], action.dedicated_pct / 100.0),
        (rows["guaranteed"], action.min_pct / 100.0),
        (rows["ceiling"], action.max_pct / 100.0),
        (rows["scheduler"], SCHEDULER_CODE[action.scheduler]),
        (rows["cap_bits_per_ms"], math.inf if cap is None else cap * 1000.0),
        (rows["admission_cap"], -1 if action.admission_cap is None else action.admission_cap),
        (rows["offload_device"], action.offload_device_pct / 100.0),
        (rows["offload_edge"], action.offload_edge_pct / 100.0),
        (rows["report_interval_s"], action.report_interval_s),
    )
    is_changed = any(column[row] != value for column, value in wanted)
    for column, value in wanted:
        column[row] = value
    moved = abs(rows["compute"][row] - action.compute_pct / 100.0)
    rows["compute"][row] = action.compute_pct / 100.0
    state.cells["lost_prb"][cell] += CHANGE_PRB * is_changed
    state.cells["edge_pause"][cell] += 0.5 * MOVE_LOSS * moved
