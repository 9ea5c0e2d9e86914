"""Faults and gaps of the backhaul written into the network's state, once a period."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from telemetry_sim.faults import FaultKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry_sim.faults import Fault
    from telemetry_sim.network.state import State
    from telemetry_sim.scenarios import BackhaulPlan

INTERFERENCE_DBM = (-100.0, -88.0)
"""Per PRB, from the weakest to the strongest burst; thermal noise is about -109."""
JAMMING_DBM = (-88.0, -75.0)
JAMMING_CYCLE_S = (4.0, 3.0)
"""Length of a jammer's cycle and of its active part."""
CONGESTED_SHARE = (0.35, 0.15)
"""Part of the backhaul left, from the mildest to the worst congestion."""
CROWD_FACTOR = (2.0, 4.0)
REBOOT_CYCLE_S = 15.0
"""Spacing of a device's restarts in a storm."""
REBOOT_S = 6.0
"""How long a restart takes."""
REBOOT_PRB_MS = 60.0
"""Signalling of one restart: random access, registration and session set-up."""


def impose(
    faults: Sequence[Fault],
    gaps: BackhaulPlan | None,
    state: State,
    time_s: float,
    num_slices: int,
) -> None:
    """Set what the active faults take from the network; what none of them touches is whole."""
    cells = state.cells
    cells["is_up"][:] = True
    cells["backhaul_factor"][:] = 1.0 if gaps is None else gaps.factors(len(cells), time_s)
    cells["jamming_mw"][:] = 0.0
    cells["edge_factor"][:] = np.maximum(0.0, 1.0 - cells["edge_pause"])
    cells["edge_pause"][:] = 0.0
    for fault in faults:
        if fault.is_active(time_s):
            _impose_one(fault, state, time_s, num_slices)


def _impose_one(fault: Fault, state: State, time_s: float, num_slices: int) -> None:
    cells, cell = state.cells, fault.cell
    match fault.kind:
        case FaultKind.CELL_OUTAGE:
            cells["is_up"][cell] = False
        case FaultKind.BACKHAUL_CONGESTION:
            cells["backhaul_factor"][cell] *= _between(CONGESTED_SHARE, fault.strength)
        case FaultKind.INTERFERENCE_BURST:
            cells["jamming_mw"][cell] += 10.0 ** (0.1 * _between(INTERFERENCE_DBM, fault.strength))
        case FaultKind.JAMMING:
            cycle_s, active_s = JAMMING_CYCLE_S
            if (time_s - fault.start_s) % cycle_s < active_s:
                cells["jamming_mw"][cell] += 10.0 ** (0.1 * _between(JAMMING_DBM, fault.strength))
        case FaultKind.FLASH_CROWD:
            state.rows["demand_factor"][cell * num_slices + fault.slice] *= _between(CROWD_FACTOR, fault.strength)
        case FaultKind.NODE_CRASH:
            cells["edge_factor"][cell] = 0.0
        case FaultKind.REBOOT_STORM:
            _reboot(fault, state, time_s)
        case _:
            # The others change what devices say, not what they do.
            pass


def _between(bounds: tuple[float, float], strength: float) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * strength


def _reboot(fault: Fault, state: State, time_s: float) -> None:
    """Restart the storm's devices, each at its own second of the cycle."""
    devices = np.array(fault.devices)
    since_s = (time_s - fault.start_s + 7.0 * devices) % REBOOT_CYCLE_S
    starting = devices[since_s < 1.0]
    state.devices["blocked_until_s"][starting] = time_s + REBOOT_S
    cells = state.devices["cell"][starting]
    np.add.at(state.cells["lost_prb"], cells[cells >= 0], REBOOT_PRB_MS / 1000.0)
