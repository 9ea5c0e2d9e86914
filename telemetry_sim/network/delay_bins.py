"""The delay histogram's bins inside compiled kernels."""

from __future__ import annotations

import math

import numpy as np

from telemetry_sim.compiled import inner

_BINS_PER_DECADE = 20.0
_FIRST_EDGE_MS = 0.1
_NUM_BINS = 160
"""More than any histogram has."""
_PARTS = 16
"""Of an octave: fewer bins than parts, so that a part holds one edge at most."""
_PART_SHIFT = np.int64(48)
"""From a float's bits to its exponent and the first four bits of its mantissa."""
_OCTAVES = 26


def _bin_of(delay_ms: float) -> int:
    return 1 + int(_BINS_PER_DECADE * math.log10(delay_ms / _FIRST_EDGE_MS))


def _first_in(number: int) -> float:
    """The least delay that falls into a bin."""
    edge_ms = float(_FIRST_EDGE_MS * 10.0 ** ((number - 1) / _BINS_PER_DECADE))
    while _bin_of(edge_ms) >= number:
        edge_ms = math.nextafter(edge_ms, 0.0)
    while _bin_of(edge_ms) < number:
        edge_ms = math.nextafter(edge_ms, math.inf)
    return edge_ms


_LOWEST = int(np.float64(0.0625).view(np.int64) >> _PART_SHIFT)
_EDGES_MS = np.array([0.0, 0.0, *(_first_in(number) for number in range(2, _NUM_BINS + 2))])
_PART_BIN = np.array(
    [
        _bin_of(max(_FIRST_EDGE_MS, 0.0625 * 2.0 ** (part // _PARTS) * (1.0 + part % _PARTS / _PARTS)))
        for part in range(_OCTAVES * _PARTS)
    ],
    np.int64,
)
"""Bin in which each part of an octave begins, from 1/16 ms on."""


@inner
def delay_bin(delay_ms: float, num_bins: int) -> int:
    """Bin of DELAY_BIN_EDGES_MS that a delay falls in; the last is open. Found without a logarithm."""
    if delay_ms < _FIRST_EDGE_MS:
        return 0
    part = min((np.float64(delay_ms).view(np.int64) >> _PART_SHIFT) - _LOWEST, _PART_BIN.shape[0] - 1)
    number = _PART_BIN[part]
    number += delay_ms >= _EDGES_MS[number + 1]
    return int(min(num_bins - 1, number))
