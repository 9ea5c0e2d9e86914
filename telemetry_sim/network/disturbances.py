"""Faults and load factors written into the network's state, once a period."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from telemetry_sim.faults import FaultKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry_sim.faults import Fault
    from telemetry_sim.network.state import State

JAMMING_DBM = (-100.0, -88.0)
"""Per PRB, from the weakest to the strongest burst; thermal noise is about -109."""
CONGESTED_SHARE = (0.35, 0.15)
"""Part of the backhaul left, from the mildest to the worst congestion."""
CROWD_FACTOR = (2.0, 4.0)


def _between(bounds: tuple[float, float], strength: float) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * strength


def impose(faults: Sequence[Fault], state: State, time_s: float, num_slices: int) -> None:
    """Set what the active faults take from the network; what none of them touches is whole."""
    cells = state.cells
    cells["is_up"][:] = True
    cells["backhaul_factor"][:] = 1.0
    cells["jamming_mw"][:] = 0.0
    np.maximum(0.0, 1.0 - cells["edge_pause"], out=cells["edge_factor"])
    cells["edge_pause"][:] = 0.0
    for fault in faults:
        if fault.is_active(time_s):
            _impose_one(fault, state, num_slices)


def _impose_one(fault: Fault, state: State, num_slices: int) -> None:
    cells, cell = state.cells, fault.cell
    match fault.kind:
        case FaultKind.CELL_OUTAGE:
            cells["is_up"][cell] = False
        case FaultKind.BACKHAUL_CONGESTION:
            cells["backhaul_factor"][cell] = _between(CONGESTED_SHARE, fault.strength)
        case FaultKind.INTERFERENCE_BURST:
            cells["jamming_mw"][cell] = 10.0 ** (0.1 * _between(JAMMING_DBM, fault.strength))
        case FaultKind.FLASH_CROWD:
            state.rows["demand_factor"][cell * num_slices + fault.slice] *= _between(CROWD_FACTOR, fault.strength)
        case FaultKind.NODE_CRASH:
            cells["edge_factor"][cell] = 0.0
        case FaultKind.SENSOR_STUCK:
            pass
