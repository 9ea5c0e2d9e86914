"""Where cells stand."""

from __future__ import annotations

import math

import numpy as np

from telemetry_sim.topology import CellSite, Environment

NUM_NEIGHBOURS = 6


def hexagonal_sites(
    num_cells: int,
    *,
    spacing_m: float,
    environment: Environment,
    edge_cpu_ghz: float,
    backhaul_mbps: float,
    backhaul_ms: float = 2.0,
    tx_power_dbm: float = 38.0,
) -> tuple[CellSite, ...]:
    """Cells on a hexagonal grid about as wide as it is high, each with its nearest neighbours."""
    per_line = math.ceil(math.sqrt(num_cells))
    index = np.arange(num_cells)
    line, column = index // per_line, index % per_line
    positions = np.column_stack(((column + 0.5 * (line % 2)) * spacing_m, line * spacing_m * math.sqrt(0.75)))
    return tuple(
        CellSite(
            id=cell,
            name=f"cell-{cell}",
            x_m=float(positions[cell, 0]),
            y_m=float(positions[cell, 1]),
            environment=environment,
            edge_cpu_ghz=edge_cpu_ghz,
            backhaul_mbps=backhaul_mbps,
            backhaul_ms=backhaul_ms,
            tx_power_dbm=tx_power_dbm,
            neighbours=nearest_others(positions, cell),
        )
        for cell in range(num_cells)
    )


def nearest_others(positions: np.ndarray, cell: int) -> tuple[int, ...]:
    """The sites next to one, nearest first."""
    distance_m = np.hypot(*(positions - positions[cell]).T)
    order = np.argsort(distance_m, kind="stable")
    return tuple(int(other) for other in order if other != cell)[:NUM_NEIGHBOURS]
