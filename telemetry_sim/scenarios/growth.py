"""How a scenario grows with its number of devices."""

from __future__ import annotations

DEVICES_PER_CELL = 1000
"""Beyond a scenario's default size cells are added, so that none has more."""


def cells_for(num_devices: int, *, usual_devices: int, usual_cells: int) -> int:
    """Number of cells for so many devices; never fewer than the scenario's own."""
    if num_devices <= usual_devices:
        return usual_cells
    return max(usual_cells, -(-num_devices // DEVICES_PER_CELL))
