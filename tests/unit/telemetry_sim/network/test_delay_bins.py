"""The delay histogram's bins."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from telemetry_sim.compiled import njit
from telemetry_sim.network.delay_bins import delay_bin
from telemetry_sim.records import DELAY_BIN_EDGES_MS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NUM_BINS = len(DELAY_BIN_EDGES_MS) - 1


@njit
def _by_logarithm(delay_ms: float, num_bins: int) -> int:
    if delay_ms < 0.1:
        return 0
    return min(num_bins - 1, 1 + int(20.0 * math.log10(delay_ms / 0.1)))


@njit
def _num_different(delays_ms: NDArray[np.float64], num_bins: int) -> int:
    different = 0
    for delay_ms in delays_ms:
        different += delay_bin(delay_ms, num_bins) != _by_logarithm(delay_ms, num_bins)
    return different


def test_a_delay_falls_into_the_bin_that_its_logarithm_says() -> None:
    delays_ms = 10.0 ** np.random.default_rng(1).uniform(-2.0, 8.0, 200_000)
    assert _num_different(delays_ms, _NUM_BINS) == 0


def test_both_sides_of_every_edge_fall_where_the_logarithm_says() -> None:
    edges_ms = np.concatenate((0.1 * 10.0 ** (np.arange(1, 150) / 20.0), 2.0 ** np.arange(-4, 24), [1e12]))
    for delays_ms in (edges_ms, np.nextafter(edges_ms, 0.0), np.nextafter(edges_ms, np.inf)):
        assert _num_different(delays_ms, _NUM_BINS) == 0


def test_no_delay_is_too_long_for_the_last_bin() -> None:
    assert _num_different(np.array([1e9, 1e15, 1e300]), _NUM_BINS) == 0
