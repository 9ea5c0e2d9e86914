"""Which figures a source's frames hold; of the others a digest has only a guess, or a 0 that stands for nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from telemetry_sim.records import TelemetryFrame

_SOURCES: dict[str, Sequence[tuple[str, str]]] = {
    "demand_kbps": (("devices", "offered_bits"), ("slices", "offered_bits")),
    "in_time_ratio": (
        ("devices", "in_time_bits"),
        ("slices", "in_time_bits"),
        ("devices", "delay_ms"),
        ("devices", "backlog_bits"),
    ),
    "delay_p95_ms": (("devices", "delay_ms"), ("slices", "delay_counts"), ("devices", "backlog_bits")),
    "prb_used": (("devices", "prb"), ("slices", "prb_used"), ("cells", "prb_used")),
}
"""Figures of a digest and the columns that each can be reckoned from."""


class HeldFigures:
    """Gathered frame by frame."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._has_rows = False

    def take(self, frames: Iterable[TelemetryFrame]) -> None:
        """Note what is in the frames."""
        for frame in frames:
            self._has_rows = self._has_rows or len(frame.devices.device_id) > 0 or frame.slices is not None
            self._held |= {name for name in self.unknown if any(_holds(frame, *source) for source in _SOURCES[name])}

    @property
    def unknown(self) -> tuple[str, ...]:
        """Figures that no frame has held; none before the first row."""
        return tuple(name for name in _SOURCES if self._has_rows and name not in self._held)


def _holds(frame: TelemetryFrame, group: str, column: str) -> bool:
    columns: Any = getattr(frame, group)
    if columns is None:
        return False
    values = np.asarray(getattr(columns, column))
    return bool((values > 0).any() if column == "delay_counts" else (~np.isnan(values)).any())
