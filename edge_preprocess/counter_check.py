"""The cells' own counters, without those that no cell can have.

Shapes: T frames, K counters, C cells, S slices.
"""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry_sim.records import TelemetryFrame

PerCellCount = Int64[NDArray[np.int64], " cells"]

_MAX_PRB = 275.0 * 1.001
_MOST_COUNTED = 1e15
_CELL_BOUNDS: dict[str, tuple[float, float]] = {
    "prb_used": (0.0, _MAX_PRB),
    # A value near 0 is mW, not dBm.
    "interference_dbm": (-400.0, -20.0),
    "tx_power_step_db": (-60.0, 60.0),
    "is_asleep": (0.0, 1.0),
    "is_up": (0.0, 1.0),
    # Above 1.5 a share is a percentage.
    "edge_utilisation": (0.0, 1.5),
    "backhaul_utilisation": (0.0, 1.5),
    "backhaul_delay_ms": (0.0, 1e7),
    "energy_j": (0.0, 1e12),
    "num_handovers": (0.0, 1e9),
    "num_handover_failures": (0.0, 1e9),
}
_SLICE_BOUNDS: dict[str, tuple[float, float]] = {
    "num_devices": (0.0, 1e9),
    "prb_used": (0.0, _MAX_PRB),
    "task_delay_ms": (0.0, 1e7),
    **dict.fromkeys(
        (
            "offered_bits",
            "served_bits",
            "in_time_bits",
            "dropped_bits",
            "num_refused",
            "tasks_offered",
            "tasks_in_time",
            "edge_cycles_offered",
            "edge_cycles_used",
        ),
        (0.0, _MOST_COUNTED),
    ),
}


def without_absurd(frames: Sequence[TelemetryFrame], num_cells: int) -> tuple[tuple[TelemetryFrame, ...], PerCellCount]:
    """The frames with every absurd counter unreported, and how many there were in each cell."""
    refused = np.zeros(num_cells, dtype=np.int64)
    kept = tuple(frames)
    for part, bounds in (("cells", _CELL_BOUNDS), ("slices", _SLICE_BOUNDS)):
        holding = [place for place, frame in enumerate(kept) if getattr(frame, part) is not None]
        if not holding:
            continue
        read = attrgetter(*bounds)
        columns = [column for at in holding for column in read(getattr(kept[at], part))]
        values = np.concatenate(columns, axis=None).reshape(len(holding), len(bounds), -1)
        low, high = np.array(list(bounds.values())).T[:, :, None]
        absurd = (values < low) | (values > high)
        if absurd.any():
            refused += absurd.reshape(-1, num_cells, absurd.shape[2] // num_cells).sum(axis=(0, 2))
            kept = _cleaned(kept, part, holding, tuple(bounds), absurd)
    return kept, refused


def _cleaned(
    frames: tuple[TelemetryFrame, ...], part: str, holding: list[int], names: tuple[str, ...], absurd: NDArray[np.bool_]
) -> tuple[TelemetryFrame, ...]:
    cleaned: list[TelemetryFrame] = list(frames)
    for at, bad in zip(holding, absurd, strict=True):
        if bad.any():
            columns: Any = getattr(frames[at], part)
            hidden = {
                name: np.where(flags.reshape(np.shape(getattr(columns, name))), np.nan, getattr(columns, name))
                for name, flags in zip(names, bad, strict=True)
                if flags.any()
            }
            cleaned[at] = replace(cleaned[at], **{part: replace(columns, **hidden)})
    return tuple(cleaned)
