"""What is refused, and why; received = accepted + quarantined."""

from __future__ import annotations

import numpy as np
import pytest

from edge_preprocess.intake import take_in
from edge_preprocess.pipeline import EdgePipeline

_GOOD = {"offered_bits": 10.0, "served_bits": 10.0}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"offered_bits": np.nan, "served_bits": np.nan}, "missing"),
        ({"served_bits": np.inf}, "infinite"),
        ({"backlog_bits": -1.0}, "negative"),
        ({"backlog_bits": -np.inf}, "infinite"),
        ({"served_bits": 1e15}, "absurd"),
        ({"rsrp_dbm": 1e-9}, "absurd"),
        ({"bler": 1.5}, "absurd"),
        ({"prb": 10_000.0}, "absurd"),
        ({"in_time_bits": 50.0}, "inconsistent"),
    ],
)
def test_impossible_rows_are_quarantined(topology, make_frame, values, reason):
    good = make_frame(1, (1,), (0,), (0,), **_GOOD)
    bad = make_frame(2, (1,), (0,), (0,), **_GOOD | values)
    intake = take_in((good, bad), topology, after_s=0)
    assert intake.reasons == {reason: 1}
    assert len(intake.rows) == 1
    assert intake.received[0] == 2
    assert intake.quarantined[0] == 1


def test_the_same_device_twice_in_a_frame_counts_once(topology, make_frame):
    frame = make_frame(1, (1, 2, 1), (0, 0, 0), (0, 0, 0), offered_bits=(1.0, 2.0, 4.0), served_bits=1.0)
    intake = take_in((frame,), topology, after_s=0)
    assert intake.reasons == {"duplicate": 1}
    assert intake.rows.columns["offered_bits"].sum() == 3.0


def test_frames_that_go_back_in_time_are_quarantined_whole(topology, make_frame):
    frames = [make_frame(t, (1, 2), (0, 1), (0, 0), **_GOOD) for t in (5, 4, 5, 6, np.nan)]
    intake = take_in(frames, topology, after_s=0)
    assert intake.reasons == {"time_backwards": 4, "time_invalid": 2}
    assert [frame.time_s for frame in intake.frames] == [5, 6]


@pytest.mark.parametrize(
    ("cell", "order", "reason"), [(9, 0, "unknown_cell"), (-1, 0, "unknown_cell"), (0, 5, "unknown_slice")]
)
def test_unknown_places_are_counted(topology, make_frame, cell, order, reason):
    intake = take_in((make_frame(1, (1,), (cell,), (order,), **_GOOD),), topology, after_s=0)
    assert intake.reasons == {reason: 1}
    assert intake.received.sum() == intake.quarantined.sum() == 1


def test_columns_of_unequal_length_cost_the_whole_frame(topology, make_frame):
    frame = make_frame(1, (1, 2), (0, 0), (0, 0), **_GOOD)
    frame.devices.__class__.__dict__["prb"].__set__(frame.devices, np.zeros(3))
    assert take_in((frame,), topology, after_s=0).reasons == {"ragged": 2}


def test_a_digest_says_how_many_rows_it_refused(topology, make_frame):
    frames = [make_frame(t, (1, 2), (0, 1), (0, 0), offered_bits=10.0, served_bits=(10.0, -1.0)) for t in range(1, 11)]
    pipeline = EdgePipeline(topology)
    first, second = pipeline.digest(frames, ())
    assert (first.quality.rows_received, first.quality.rows_quarantined) == (10, 0)
    assert (second.quality.rows_received, second.quality.rows_quarantined) == (10, 10)
    assert pipeline.quarantine_reasons == {"negative": 10}


def test_rows_older_than_the_interval_are_marked_stale(topology, make_frame):
    frames = [make_frame(t, (1,), (0,), (0,), **_GOOD) for t in range(1, 16)]
    (first, _) = EdgePipeline(topology, interval_s=10.0).digest(frames, ())
    assert first.quality.rows_stale == 5


@pytest.mark.parametrize("ids", [(3, 1, 2, 1), (-5, 10**15, 7, 10**15), (0, 0, 0, 0), ()])
def test_devices_are_numbered_in_the_order_of_their_ids(topology, make_frame, ids):
    frames = [make_frame(t, (device,), (0,), (0,), **_GOOD) for t, device in enumerate(ids, start=1)]
    rows = take_in(frames, topology, after_s=0).rows
    distinct = sorted(set(ids))
    assert rows.num_devices == len(distinct)
    assert [distinct[place] for place in rows.device] == list(ids)


def test_a_device_whose_last_rows_were_refused_ends_with_the_last_good_one(topology, make_frame):
    served = ((1.0, 1.0, -1.0), (1.0, -1.0, -1.0))
    frames = [
        make_frame(t, (5, 6, 7), (0, 0, 0), (0, 0, 0), served_bits=bits) for t, bits in enumerate(served, start=1)
    ]
    rows = take_in(frames, topology, after_s=0).rows
    last = rows.last_of_devices()
    assert rows.device_id[last].tolist() == [6, 5]
    assert rows.time_s[last].tolist() == [1.0, 2.0]
