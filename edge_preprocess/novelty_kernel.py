"""Compiled search of the nearest remembered window, for many streams in lockstep.

Shapes: S streams, K scales, M remembered windows a scale, P parts of a window (at most), H newest values kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from telemetry_sim.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Memory(NamedTuple):
    """What is kept of each stream; the sizes never change."""

    newest: NDArray[np.float64]
    """S x H ring of values."""
    num_seen: NDArray[np.int64]
    """S."""
    means: NDArray[np.float32]
    """S x K x M: means of the remembered windows, ascending."""
    parts: NDArray[np.float32]
    """S x K x M x P: means over the parts of each remembered window, newest part first, in the order of `means`."""
    turns: NDArray[np.int16]
    """S x K x M: each window's turn of being replaced, in the order of `means`."""
    mean_of_turn: NDArray[np.float32]
    """S x K x M: the mean of the window with that turn."""
    num_windows: NDArray[np.int64]
    """S x K."""
    next_turn: NDArray[np.int64]
    """S x K: the turn that the next window takes over."""


@kernel
def distances(
    memory: Memory, values: NDArray[np.float64], lengths: NDArray[np.int64], widths: NDArray[np.int64]
) -> NDArray[np.float64]:
    """S x K root mean square differences between each newest window and the most similar remembered one.

    NaN where too little is remembered or the value is missing. `lengths` and `widths` give each scale's window and
    part in rows.
    """
    num_streams, num_scales = len(values), len(lengths)
    size = memory.newest.shape[1]
    found = np.full((num_streams, num_scales), np.nan)
    query = np.empty(memory.parts.shape[3])
    for s in range(num_streams):
        if np.isnan(values[s]):
            continue
        for k in range(num_scales):
            count = memory.num_windows[s, k]
            if count < 20:
                continue
            num_parts = lengths[k] // widths[k]
            _fill_parts(query, memory.newest[s], memory.num_seen[s], values[s], num_parts, widths[k], size)
            found[s, k] = _nearest(query, num_parts, memory.parts[s, k], memory.means[s, k], count)
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
    size = memory.newest.shape[1]
    window = np.empty(memory.parts.shape[3])
    for s in range(len(values)):
        if np.isnan(values[s]):
            continue
        seen = memory.num_seen[s]
        memory.newest[s, seen % size] = values[s]
        memory.num_seen[s] = seen + 1
        if seen % spacing != 0:
            continue
        for k in range(len(lengths)):
            if seen + 1 < 2 * lengths[k]:
                continue
            num_parts = lengths[k] // widths[k]
            # The window that ended `lengths[k]` rows ago shares no row with the newest one.
            end = seen - lengths[k]
            for p in range(num_parts):
                total = 0.0
                for row in range(end - (p + 1) * widths[k] + 1, end - p * widths[k] + 1):
                    total += memory.newest[s, row % size]
                window[p] = total / widths[k]
            _insert(window, num_parts, s, k, memory)


@kernel
def _fill_parts(
    query: NDArray[np.float64],
    newest: NDArray[np.float64],
    seen: int,
    value: float,
    num_parts: int,
    width: int,
    size: int,
) -> None:
    for p in range(num_parts):
        total = 0.0
        # Row `seen` is the value itself, which is not in the ring yet.
        for row in range(seen - (p + 1) * width + 1, seen - p * width + 1):
            total += value if row == seen else newest[row % size]
        query[p] = total / width


@kernel
def _nearest(
    query: NDArray[np.float64],
    num_parts: int,
    parts: NDArray[np.float32],
    means: NDArray[np.float32],
    count: int,
) -> float:
    """Distance to the nearest window; windows are tried in the order of their means' difference."""
    mean = 0.0
    for p in range(num_parts):
        mean += query[p]
    mean /= num_parts
    right = int(np.searchsorted(means[:count], np.float32(mean)))
    left = right - 1
    best = np.inf
    # No window can be nearer than the difference of the means (Cauchy and Schwarz), so both walks end early.
    while left >= 0 or right < count:
        if left >= 0:
            gap = mean - means[left]
            if num_parts * gap * gap >= best:
                left = -1
            else:
                best = min(best, _squared_distance(query, parts[left], num_parts))
                left -= 1
        if right < count:
            gap = means[right] - mean
            if num_parts * gap * gap >= best:
                right = count
            else:
                best = min(best, _squared_distance(query, parts[right], num_parts))
                right += 1
    return float(np.sqrt(best / num_parts))


@kernel
def _squared_distance(query: NDArray[np.float64], parts: NDArray[np.float32], num_parts: int) -> float:
    total = 0.0
    for p in range(num_parts):
        difference = query[p] - parts[p]
        total += difference * difference
    return total


@kernel
def _insert(window: NDArray[np.float64], num_parts: int, s: int, k: int, memory: Memory) -> None:
    """Keep the window in place of the oldest one, means ascending."""
    means, parts, turns = memory.means[s, k], memory.parts[s, k], memory.turns[s, k]
    capacity = len(means)
    count = memory.num_windows[s, k]
    turn = memory.next_turn[s, k]
    mean = 0.0
    for p in range(num_parts):
        mean += window[p]
    key = np.float32(mean / num_parts)
    at = int(np.searchsorted(means[:count], key))
    gap = count
    if count == capacity:
        gap = int(np.searchsorted(means, memory.mean_of_turn[s, k, turn]))
        while turns[gap] != turn:
            gap += 1
    else:
        memory.num_windows[s, k] = count + 1
    # Only what lies between the freed place and the new one moves.
    while gap > at:
        _move(means, parts, turns, gap - 1, gap, num_parts)
        gap -= 1
    while gap < at - 1:
        _move(means, parts, turns, gap + 1, gap, num_parts)
        gap += 1
    means[gap] = key
    turns[gap] = turn
    for p in range(num_parts):
        parts[gap, p] = window[p]
    memory.mean_of_turn[s, k, turn] = key
    memory.next_turn[s, k] = (turn + 1) % capacity


@kernel
def _move(
    means: NDArray[np.float32],
    parts: NDArray[np.float32],
    turns: NDArray[np.int16],
    source: int,
    target: int,
    num_parts: int,
) -> None:
    means[target] = means[source]
    turns[target] = turns[source]
    for p in range(num_parts):
        parts[target, p] = parts[source, p]
