"""Which figures frames hold, and that a delay that nobody told is none."""

from __future__ import annotations

import numpy as np
import pytest

from edge_preprocess.held_figures import HeldFigures
from edge_preprocess.pipeline import EdgePipeline
from telemetry_sim.records import DELAY_BIN_EDGES_MS


def unknown_of(*frames):
    held = HeldFigures()
    held.take(frames)
    return held.unknown


def test_rates_alone_leave_the_rest_unknown(make_frame):
    frame = make_frame(1, (1,), (0,), (0,), served_bits=1e6)
    assert unknown_of(frame) == ("demand_kbps", "in_time_ratio", "delay_p95_ms", "prb_used")
    assert unknown_of(frame, make_frame(2, (1,), (0,), (0,), prb=3.0, offered_bits=1.0)) == (
        "in_time_ratio",
        "delay_p95_ms",
    )


def test_nothing_is_called_unknown_before_the_first_row(make_frame):
    assert unknown_of() == unknown_of(make_frame(1)) == ()


def test_a_cells_own_counts_hold_everything(make_frame, make_slice_columns):
    counts = np.zeros((2, 2, len(DELAY_BIN_EDGES_MS)), dtype=np.int64)
    frame = make_frame(
        1, (1,), (0,), (0,), slices=make_slice_columns(delay_counts=counts, offered_bits=[[0.0] * 2] * 2)
    )
    assert "demand_kbps" not in unknown_of(frame)
    assert "delay_p95_ms" in unknown_of(frame)
    counts[0, 0, 5] = 1
    counted = make_frame(1, (1,), (0,), (0,), slices=make_slice_columns(delay_counts=counts))
    assert "delay_p95_ms" not in unknown_of(counted)


@pytest.mark.parametrize(("told_ms", "is_measured"), [(np.nan, False), (0.0, False), (4.0, True)])
def test_what_stands_for_a_delay_that_nobody_told_is_not_measured(topology, make_frame, told_ms, is_measured):
    frames = [
        make_frame(t, (1,), (0,), (0,), served_bits=1e6, offered_bits=1e6, delay_ms=told_ms, backlog_bits=0.0)
        for t in range(1, 11)
    ]
    (first, _) = EdgePipeline(topology).digest(frames, ())
    assert first.slices[0].served_kbps > 0
    assert first.slices[0].is_delay_measured is is_measured
