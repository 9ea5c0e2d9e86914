"""Compiled search of the nearest remembered window, for many streams in lockstep.

Every remembered window is compared, part by part, over arrays that lie so that the processor takes many at once; a
sorted search that skips most windows is slower here.
Shapes: S streams, K scales, M remembered windows a scale, P parts of a window (at most), H newest values kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from telemetry_sim.compiled import kernel, reordering_kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MIN_WINDOWS = 20
"""Fewer remembered windows say nothing about what is near."""
_FEW = 16


class Memory(NamedTuple):
    """What is kept of each stream; the sizes never change."""

    origin: NDArray[np.float64]
    """S: the first value; all else is kept relative to it, so that a large offset costs no precision."""
    newest: NDArray[np.float64]
    """S x 2 H: a ring of values, written twice so that the newest H always lie side by side."""
    num_seen: NDArray[np.int64]
    """S."""
    parts: NDArray[np.float32]
    """S x K x P x M: means over the parts of each remembered window, newest part first."""
    num_windows: NDArray[np.int64]
    """S x K."""
    next_place: NDArray[np.int64]
    """S x K: the window that the next one replaces, the oldest."""


@kernel
def distances(
    memory: Memory, values: NDArray[np.float64], lengths: NDArray[np.int64], widths: NDArray[np.int64]
) -> NDArray[np.float64]:
    """S x K root mean square differences between each newest window and the most similar remembered one.

    NaN where too little is remembered or the value is missing. `lengths` and `widths` give each scale's window and
    part in rows.
    """
    num_streams, num_scales = len(values), len(lengths)
    found = np.full((num_streams, num_scales), np.nan)
    query = np.empty(memory.parts.shape[2], np.float32)
    totals = np.empty(memory.parts.shape[3], np.float32)
    for s in range(num_streams):
        if np.isnan(values[s]):
            continue
        # The slot is the next value's anyway; nothing older in the ring is touched.
        end = _store(memory, s, values[s])
        for k in range(num_scales):
            count = memory.num_windows[s, k]
            if count >= _MIN_WINDOWS:
                num_parts = lengths[k] // widths[k]
                _fill_parts(query, memory.newest[s], end, num_parts, widths[k])
                nearest = _nearest(query, num_parts, memory.parts[s, k], count, totals)
                found[s, k] = np.sqrt(nearest / num_parts)
    return found


@kernel
def remember(
    memory: Memory,
    values: NDArray[np.float64],
    lengths: NDArray[np.int64],
    widths: NDArray[np.int64],
    spacing: int,
) -> None:
    """Take the newest value of every stream; every `spacing` rows also the window that ended one window ago."""
    window = np.empty(memory.parts.shape[2], np.float32)
    capacity = memory.parts.shape[3]
    for s in range(len(values)):
        if np.isnan(values[s]):
            continue
        end = _store(memory, s, values[s])
        seen = memory.num_seen[s]
        memory.num_seen[s] = seen + 1
        if seen % spacing != 0:
            continue
        for k in range(len(lengths)):
            if seen + 1 < 2 * lengths[k]:
                continue
            num_parts = lengths[k] // widths[k]
            # The window that ended `lengths[k]` rows ago shares no row with the newest one.
            _fill_parts(window, memory.newest[s], end - lengths[k], num_parts, widths[k])
            place = memory.next_place[s, k]
            for p in range(num_parts):
                memory.parts[s, k, p, place] = window[p]
            memory.num_windows[s, k] = max(memory.num_windows[s, k], place + 1)
            memory.next_place[s, k] = (place + 1) % capacity


@kernel
def _store(memory: Memory, s: int, value: float) -> int:
    """Write the next value; where the newest H values end."""
    size = memory.newest.shape[1] // 2
    if memory.num_seen[s] == 0:
        memory.origin[s] = value
    slot = memory.num_seen[s] % size
    memory.newest[s, slot] = value - memory.origin[s]
    memory.newest[s, slot + size] = value - memory.origin[s]
    return int(slot + size)


@kernel
def _fill_parts(query: NDArray[np.float32], newest: NDArray[np.float64], end: int, num_parts: int, width: int) -> None:
    last = end
    for p in range(num_parts):
        total = 0.0
        for row in range(last - width + 1, last + 1):
            total += newest[row]
        query[p] = total / width
        last -= width


@reordering_kernel
def _nearest(
    query: NDArray[np.float32], num_parts: int, parts: NDArray[np.float32], count: int, totals: NDArray[np.float32]
) -> float:
    """Smallest sum of squared differences of parts."""
    first = parts[0]
    for j in range(count):
        difference = query[0] - first[j]
        totals[j] = difference * difference
    for p in range(1, num_parts):
        other = parts[p]
        for j in range(count):
            difference = query[p] - other[j]
            totals[j] += difference * difference
    # Halving folds the minimum in whole blocks; a running minimum would go one by one.
    while count > _FEW:
        half = (count + 1) // 2
        for j in range(count - half):
            totals[j] = min(totals[j], totals[half + j])
        count = half
    best = totals[0]
    for j in range(1, count):
        best = min(best, totals[j])
    return float(best)
