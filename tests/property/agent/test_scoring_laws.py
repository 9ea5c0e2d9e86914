"""Laws of the delay quantiles."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent.scoring import delay_quantile_ms
from telemetry_sim.records import DELAY_BIN_EDGES_MS

delays_ms = st.lists(st.floats(0.0, 90_000.0), min_size=1, max_size=60)


def histogram(values_ms: list[float]) -> np.ndarray:
    return np.histogram(values_ms, DELAY_BIN_EDGES_MS)[0].astype(np.int64)


@given(values_ms=delays_ms, quantile=st.floats(0.01, 1.0))
def test_a_quantile_lies_at_most_one_bin_above_the_delays_own(values_ms: list[float], quantile: float) -> None:
    counts = histogram(values_ms)
    # The same rank as the histogram's: the first value that has at least this part of all values at or below it.
    rank = int(np.searchsorted(np.arange(1, len(values_ms) + 1), quantile * len(values_ms)))
    exact_ms = sorted(values_ms)[rank]
    place = int(np.searchsorted(DELAY_BIN_EDGES_MS, exact_ms, side="right")) - 1

    assert delay_quantile_ms(counts, quantile) == DELAY_BIN_EDGES_MS[place + 1]


@given(values_ms=delays_ms, low=st.floats(0.01, 1.0), high=st.floats(0.01, 1.0))
def test_a_higher_quantile_is_no_shorter_delay(values_ms: list[float], low: float, high: float) -> None:
    counts = histogram(values_ms)

    assert delay_quantile_ms(counts, min(low, high)) <= delay_quantile_ms(counts, max(low, high))
