"""Digests of hand-made intervals."""

from __future__ import annotations

import numpy as np
import pytest

from edge_preprocess.pipeline import EdgePipeline
from telemetry_sim.records import DELAY_BIN_EDGES_MS, LogRecord


def _steady(make_frame, *, seconds=10, start=0, **values):
    """Four devices, one per cell and slice."""
    given = {
        "offered_bits": 1e6,
        "served_bits": 8e5,
        "in_time_bits": 6e5,
        "dropped_bits": 1e5,
        "backlog_bits": 5e4,
        "delay_ms": 20.0,
        "prb": 2.0,
    } | values
    return [make_frame(start + t, (1, 2, 3, 4), (0, 0, 1, 1), (0, 1, 0, 1), **given) for t in range(1, seconds + 1)]


def test_rates_are_bits_over_the_interval(topology, make_frame):
    first, second = EdgePipeline(topology).digest(_steady(make_frame), ())
    assert (first.cell, second.cell) == (7, 9)
    assert (first.start_s, first.end_s) == (0.0, 10.0)
    video = first.slices[0]
    assert video.demand_kbps == 1000.0
    assert video.served_kbps == 800.0
    assert video.in_time_ratio == 0.6
    assert video.backlog_kbit == 50.0
    assert video.prb_used == 2.0
    assert video.num_devices == 1
    assert first.prb_used == 4.0
    assert video.forecast_demand_kbps == pytest.approx(1000.0)


def test_a_prb_is_worth_what_it_carried(topology, make_frame):
    (first, _) = EdgePipeline(topology).digest(_steady(make_frame), ())
    assert first.slices[0].kbps_per_prb == pytest.approx(400.0, rel=0.01)


def test_without_traffic_a_prb_is_worth_what_sinr_promises(topology, make_frame):
    frames = _steady(make_frame, offered_bits=0, served_bits=0, in_time_bits=0, prb=0, sinr_db=10.0)
    (first, _) = EdgePipeline(topology).digest(frames, ())
    assert first.slices[0].kbps_per_prb == pytest.approx(0.6 * np.log2(11.0) * 360.0, rel=0.01)
    assert first.slices[0].in_time_ratio == 1.0


def test_a_prb_keeps_its_last_known_worth_while_nothing_is_sent(topology, make_frame):
    pipeline = EdgePipeline(topology)
    pipeline.digest(_steady(make_frame), ())
    (first, _) = pipeline.digest(_steady(make_frame, start=10, served_bits=0, in_time_bits=0, prb=0), ())
    assert first.slices[0].kbps_per_prb == pytest.approx(400.0, rel=0.01)


def test_demand_hidden_by_saturation_is_served_dropped_and_grown_backlog(topology, make_frame):
    pipeline = EdgePipeline(topology)
    frames = [
        make_frame(t, (1,), (0,), (0,), served_bits=1e6, dropped_bits=2e5, backlog_bits=3e5 * t) for t in range(1, 21)
    ]
    pipeline.digest(frames[:10], ())
    (second, _) = pipeline.digest(frames[10:], ())
    assert second.slices[0].demand_kbps == pytest.approx(1500.0)


def test_silent_devices_are_counted_by_the_cell(topology, make_frame, make_slice_columns):
    counters = make_slice_columns(num_devices=[[4, 0], [0, 0]])
    frames = [
        make_frame(t, (1, 2), (0, 0), (0, 0), offered_bits=1e6, served_bits=1e6, in_time_bits=1e6, slices=counters)
        for t in range(1, 11)
    ]
    (first, _) = EdgePipeline(topology).digest(frames, ())
    assert first.slices[0].demand_kbps == pytest.approx(4000.0)
    assert first.slices[0].num_devices == 4


def test_a_slice_whose_reports_are_spaced_keeps_its_demand_between_reports(topology, make_frame, make_slice_columns):
    counters = make_slice_columns(num_devices=[[2, 0], [0, 0]])
    pipeline = EdgePipeline(topology)
    heard = [
        make_frame(1, (1, 2), (0, 0), (0, 0), offered_bits=1e6, served_bits=1e6, in_time_bits=1e6, slices=counters)
    ]
    silent = [make_frame(t, slices=counters) for t in range(2, 12)]
    pipeline.digest(heard, ())
    (second, _) = pipeline.digest(silent, ())
    assert second.slices[0].demand_kbps == pytest.approx(2000.0)


def test_p95_comes_from_the_cells_histogram(topology, make_frame, make_slice_columns):
    counts = np.zeros((2, 2, len(DELAY_BIN_EDGES_MS)), dtype=np.int64)
    low = int(np.searchsorted(DELAY_BIN_EDGES_MS, 5.0)) - 1
    high = int(np.searchsorted(DELAY_BIN_EDGES_MS, 80.0)) - 1
    counts[0, 1, low], counts[0, 1, high] = 90, 10
    frames = _steady(make_frame, slices=make_slice_columns(delay_counts=counts))
    frames = [make_frame(1, (1,), (0,), (1,), offered_bits=1.0, served_bits=1.0, slices=frames[0].slices)]
    (first, _) = EdgePipeline(topology).digest(frames, ())
    assert DELAY_BIN_EDGES_MS[high] <= first.slices[1].delay_p95_ms <= DELAY_BIN_EDGES_MS[high + 1]


def test_a_starved_slice_has_waited_the_whole_interval(topology, make_frame):
    frames = _steady(make_frame, served_bits=0, in_time_bits=0, prb=0, delay_ms=np.nan)
    (first, _) = EdgePipeline(topology).digest(frames, ())
    assert first.slices[1].delay_p95_ms == 10_000.0
    assert first.slices[1].in_time_ratio == 0.0


def test_in_time_share_of_a_recorded_trace_follows_from_delay_and_budget(topology, make_frame):
    frames = _steady(make_frame, offered_bits=8e5, in_time_bits=np.nan, delay_ms=10.0)
    (first, _) = EdgePipeline(topology).digest(frames, ())
    assert first.slices[1].in_time_ratio == pytest.approx(1 - np.exp(-1), rel=1e-3)


def test_tasks_are_counted_per_second_and_in_time(topology, make_frame, make_slice_columns):
    counters = make_slice_columns(
        tasks_offered=[[0, 6], [0, 0]], tasks_in_time=[[0, 3], [0, 0]], edge_cycles_offered=[[0, 3e7], [0, 0]]
    )
    (first, _) = EdgePipeline(topology).digest(_steady(make_frame, slices=counters), ())
    control = first.slices[1]
    assert (control.tasks_per_s, control.tasks_in_time_ratio, control.task_megacycles) == (6.0, 0.5, 5.0)
    assert control.forecast_tasks_per_s == pytest.approx(6.0)


def test_cell_counters_reach_the_digest_and_the_neighbours(topology, make_frame, make_cell_columns):
    cells = make_cell_columns(
        policy_version=(3, 4),
        prb_used=(10.2, 51.0),
        interference_dbm=(-100.0, -110.0),
        is_up=(1, 0),
        is_asleep=(0, 1),
        edge_utilisation=(0.5, 1.0),
        energy_j=(300.0, 50.0),
        num_handovers=(1, 0),
    )
    first, second = EdgePipeline(topology).digest(_steady(make_frame, cells=cells), ())
    assert (first.prb_used, first.interference_dbm, first.energy_w) == (10.2, -100.0, 300.0)
    assert (first.num_handovers, first.policy_version) == (10, 3)
    assert (second.is_up, second.is_asleep, second.policy_version) == (False, True, 4)
    assert first.neighbours[0].model_dump() == {"cell": 9, "prb_utilisation": 1.0, "is_up": False}


def test_an_interval_without_frames_repeats_what_was_known_and_says_so(topology, make_frame):
    pipeline = EdgePipeline(topology)
    pipeline.digest(_steady(make_frame), ())
    (first, _) = pipeline.digest((), ())
    assert (first.start_s, first.end_s) == (10.0, 20.0)
    assert first.slices[0].demand_kbps == 1000.0
    assert first.quality.rows_received == 0


def test_a_source_that_starts_again_at_0_is_followed(topology, make_frame):
    pipeline = EdgePipeline(topology)
    pipeline.digest(_steady(make_frame, start=500), ())
    (first, _) = pipeline.digest(_steady(make_frame, offered_bits=3e6), ())
    (second, _) = pipeline.digest(_steady(make_frame, start=10, offered_bits=3e6), ())
    assert pipeline.quarantine_reasons == {"time_backwards": 8}
    assert [(d.start_s, d.end_s, d.slices[0].demand_kbps) for d in (first, second)] == [
        (2.0, 10.0, 3000.0),
        (10.0, 20.0, 3000.0),
    ]


def test_frames_that_were_late_by_intervals_without_any_are_believed(topology, make_frame):
    pipeline = EdgePipeline(topology)
    pipeline.digest(_steady(make_frame), ())
    for _ in range(3):
        pipeline.digest((), ())
    (first, _) = pipeline.digest(_steady(make_frame, start=10), ())
    assert (first.end_s, first.quality.rows_quarantined) == (20.0, 0)


def test_a_step_back_within_an_interval_leaves_its_end_behind_its_start(topology, make_frame):
    frames = [*_steady(make_frame, seconds=5, start=100), *_steady(make_frame, seconds=5)]
    (first, _) = EdgePipeline(topology).digest(frames, ())
    assert (first.start_s, first.end_s, first.quality.rows_quarantined) == (100.0, 105.0, 10)


def test_equal_frames_give_equal_bytes(topology, make_frame):
    def run():
        pipeline = EdgePipeline(topology)
        return [
            d.model_dump_json() for start in (0, 10, 20) for d in pipeline.digest(_steady(make_frame, start=start), ())
        ]

    assert run() == run()


def test_swapped_cells_swap_their_digests(topology, make_frame):
    frames = [make_frame(t, (1, 2), (0, 1), (0, 0), offered_bits=(1e6, 3e6), served_bits=1e6) for t in range(1, 11)]
    swapped = [make_frame(t, (1, 2), (1, 0), (0, 0), offered_bits=(1e6, 3e6), served_bits=1e6) for t in range(1, 11)]
    first, second = EdgePipeline(topology).digest(frames, ())
    other_first, other_second = EdgePipeline(topology).digest(swapped, ())
    assert first.slices == other_second.slices
    assert second.slices == other_first.slices


def test_the_cells_own_counts_outrank_the_rows(topology, make_frame, make_slice_columns):
    counters = make_slice_columns(
        num_devices=1, offered_bits=2e6, served_bits=1.5e6, in_time_bits=1e6, dropped_bits=0, prb_used=3.0
    )
    (first, _) = EdgePipeline(topology).digest(_steady(make_frame, slices=counters), ())
    video = first.slices[0]
    assert (video.demand_kbps, video.served_kbps, video.in_time_ratio, video.prb_used) == (2000.0, 1500.0, 0.5, 3.0)
    assert video.kbps_per_prb == pytest.approx(500.0, rel=0.01)


def test_log_lines_become_named_counters_of_their_cell(topology, make_frame):
    lines = [
        LogRecord(
            time_s=3.0,
            cell=1,
            source="gnb",
            text=f"00003.100 [RRC] W cell=1 ue=0x{n:04x} handover failure, T304 expired",
        )
        for n in range(3)
    ]
    lines.append(LogRecord(time_s=4.0, cell=0, source="gnb", text="\x00broken"))
    first, second = EdgePipeline(topology).digest(_steady(make_frame), lines)
    assert [(event.name, event.count) for event in second.events] == [("handover_failure", 3)]
    assert first.events == ()
    assert (first.quality.rows_received, first.quality.rows_quarantined) == (21, 1)
    assert (second.quality.rows_received, second.quality.rows_quarantined) == (23, 0)


@pytest.mark.parametrize("cell", [-1, 2, 7])
def test_a_line_of_an_unknown_cell_is_quarantined_and_tells_nothing_of_the_first(topology, make_frame, cell):
    lines = [LogRecord(time_s=3.0, cell=cell, source="gnb", text=f"cell=7 out of service, try {n}") for n in range(3)]
    pipeline = EdgePipeline(topology)
    first, second = pipeline.digest(_steady(make_frame), lines)
    assert (first.events, first.anomalies, second.events) == ((), (), ())
    assert (first.quality.rows_received, first.quality.rows_quarantined) == (23, 3)
    assert pipeline.quarantine_reasons == {"log_unknown_cell": 3}


def test_a_restored_pipeline_goes_on_as_if_nothing_had_happened(topology, make_frame, make_slice_columns):
    rng = np.random.default_rng(4)

    def interval(number):
        offered = rng.uniform(1e5, 2e6, (4, 10))
        lines = [
            LogRecord(time_s=10.0 * number + 1, cell=0, source="gnb", text=f"[RRC] W ue={number} handover failure")
        ]
        frames = [
            make_frame(10 * number + t + 1, range(4), (0, 0, 1, 1), (0, 1, 0, 1), served_bits=offered[:, t], prb=2.0)
            for t in range(10)
        ]
        return frames, lines

    given = [interval(number) for number in range(12)]
    whole = EdgePipeline(topology)
    expected = [whole.digest(*one) for one in given]
    first = EdgePipeline(topology)
    for one in given[:7]:
        first.digest(*one)
    second = EdgePipeline(topology)
    second.restore(first.state())
    assert [second.digest(*one) for one in given[7:]] == expected[7:]
    assert second.quarantine_reasons == whole.quarantine_reasons
