"""What the edge remembers of each device between intervals: when it last reported and what was waiting then.

Shapes: N rows of the interval, K devices known.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_preprocess.intake import PerRow, PerRowIndex, Rows

_FORGET_AFTER_S = 300.0


class DeviceMemory:
    """Last report time and backlog per device id; a device silent for five minutes is forgotten."""

    def __init__(self) -> None:
        self._ids: Int64[NDArray[np.int64], " known"] = np.empty(0, dtype=np.int64)
        self._time_s: Float64[NDArray[np.float64], " known"] = np.empty(0)
        self._backlog_bits: Float64[NDArray[np.float64], " known"] = np.empty(0)

    def with_held_backlogs(self, rows: Rows) -> Rows:
        """The rows, each doubted backlog replaced by the device's last believed one; 0 where there was none."""
        backlog = rows.columns["backlog_bits"]
        doubted = rows.is_doubted & np.isnan(backlog)
        if not doubted.any():
            return rows
        order = np.argsort(rows.device, kind="stable")
        device, in_doubt = rows.device[order], doubted[order]
        newest = np.maximum.accumulate(np.where(in_doubt, 0, np.arange(len(order))))
        is_known = (device[newest] == device) & ~in_doubt[newest]
        held = np.where(is_known, backlog[order][newest], self._remembered_backlog(rows, np.zeros(len(rows)))[order])
        believed = backlog.copy()
        believed[order] = np.where(in_doubt, held, backlog[order])
        return replace(rows, columns=rows.columns | {"backlog_bits": believed})

    def offered_bits(self, rows: Rows) -> PerRow:
        """Reported arrivals, or served + dropped + growth of the backlog where a row reports none.

        A device seen for the first time has no earlier backlog: its growth counts as 0.
        """
        offered = rows.columns["offered_bits"]
        missing = np.isnan(offered)
        if not missing.any():
            return offered
        backlog = _or_zero(rows.columns["backlog_bits"])
        growth = backlog - self._backlog_before(rows, backlog)
        inferred = _or_zero(rows.columns["served_bits"]) + _or_zero(rows.columns["dropped_bits"]) + growth
        return np.where(missing, np.maximum(inferred, 0.0), offered)

    def remember(self, rows: Rows, now_s: float) -> None:
        """Store every device's last row; call it once per interval, after the reads."""
        last = rows.last_of_devices()
        # Where time has stepped back, what was heard before it counts as heard now.
        self._time_s = np.minimum(self._time_s, now_s)
        fresh = np.isin(self._ids, rows.device_id[last], invert=True) & (self._time_s > now_s - _FORGET_AFTER_S)
        ids = np.concatenate((self._ids[fresh], rows.device_id[last]))
        order = np.argsort(ids)
        self._ids = ids[order]
        self._time_s = np.concatenate((self._time_s[fresh], rows.time_s[last]))[order]
        backlog = np.concatenate((self._backlog_bits[fresh], _or_zero(rows.columns["backlog_bits"][last])))
        self._backlog_bits = backlog[order]

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything needed to go on after a restart."""
        return {"ids": self._ids, "time_s": self._time_s, "backlog_bits": self._backlog_bits}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from `state`."""
        self._ids = np.asarray(state["ids"], dtype=np.int64)
        self._time_s = np.asarray(state["time_s"], dtype=np.float64)
        self._backlog_bits = np.asarray(state["backlog_bits"], dtype=np.float64)

    def _backlog_before(self, rows: Rows, backlog: PerRow) -> PerRow:
        """The device's backlog at its previous report; its own where there was none."""
        previous = _previous_row(rows)
        before = backlog[previous]
        first = previous == np.arange(len(rows))
        return np.where(first, self._remembered_backlog(rows, before), before)

    def _remembered_backlog(self, rows: Rows, otherwise: PerRow) -> PerRow:
        """The device's backlog in the interval before; `otherwise` where it was not heard then."""
        if not len(self._ids):
            return otherwise
        place = np.minimum(np.searchsorted(self._ids, rows.device_id), len(self._ids) - 1)
        return np.where(self._ids[place] == rows.device_id, self._backlog_bits[place], otherwise)


def _previous_row(rows: Rows) -> PerRowIndex:
    """Index of the same device's row before this one; the row itself where it is the first."""
    order = np.argsort(rows.device, kind="stable")
    same = np.zeros(len(order), dtype=bool)
    same[1:] = rows.device[order[1:]] == rows.device[order[:-1]]
    previous = np.arange(len(order))
    follows = np.flatnonzero(same)
    previous[order[follows]] = order[follows - 1]
    return previous


def _or_zero(values: PerRow) -> PerRow:
    return np.where(np.isnan(values), 0.0, values)
