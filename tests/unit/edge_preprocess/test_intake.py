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
        ({"energy_j": -1.0}, "negative"),
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
    intake = take_in((good, bad), topology)
    assert intake.reasons == {reason: 1}
    assert len(intake.rows) == 1
    assert intake.received[0] == 2
    assert intake.quarantined[0] == 1


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"backlog_bits": -1.0}, "negative"),
        ({"backlog_bits": -np.inf}, "infinite"),
        ({"offered_bits": 1e15}, "absurd"),
        ({"dropped_bits": 1e15}, "absurd"),
    ],
)
def test_an_impossible_claim_of_demand_is_not_heard_but_the_rest_of_its_row_is(topology, make_frame, values, reason):
    frame = make_frame(1, (1,), (0,), (0,), **_GOOD | {"sinr_db": 12.0} | values)
    intake = take_in((frame,), topology)
    assert (intake.reasons, intake.quarantined[0]) == ({reason: 1}, 1)
    assert np.isnan(intake.rows.columns[next(iter(values))]).all()
    assert intake.rows.columns["sinr_db"].tolist() == [12.0]


def test_what_a_row_without_any_traffic_claims_does_not_hide_why_it_was_refused(topology, make_frame):
    frame = make_frame(1, (1,), (0,), (0,), offered_bits=1e15, served_bits=np.nan)
    intake = take_in((frame,), topology)
    assert intake.reasons == {"absurd": 1}
    assert len(intake.rows) == 0


def test_the_same_device_twice_in_a_frame_counts_once(topology, make_frame):
    frame = make_frame(1, (1, 2, 1), (0, 0, 0), (0, 0, 0), offered_bits=(1.0, 2.0, 4.0), served_bits=1.0)
    intake = take_in((frame,), topology)
    assert intake.reasons == {"duplicate": 1}
    assert intake.rows.columns["offered_bits"].sum() == 3.0


def test_frames_that_go_back_in_time_are_quarantined_whole(topology, make_frame):
    frames = [make_frame(t, (1, 2), (0, 1), (0, 0), **_GOOD) for t in (5, 4, 5, 6, np.nan)]
    intake = take_in(frames, topology)
    assert intake.reasons == {"time_backwards": 4, "time_invalid": 2}
    assert [frame.time_s for frame in intake.frames] == [5, 6]


@pytest.mark.parametrize(
    ("cell", "order", "reason"), [(9, 0, "unknown_cell"), (-1, 0, "unknown_cell"), (0, 5, "unknown_slice")]
)
def test_unknown_places_are_counted(topology, make_frame, cell, order, reason):
    intake = take_in((make_frame(1, (1,), (cell,), (order,), **_GOOD),), topology)
    assert intake.reasons == {reason: 1}
    assert intake.received.sum() == intake.quarantined.sum() == 1


def test_columns_of_unequal_length_cost_the_whole_frame(topology, make_frame):
    frame = make_frame(1, (1, 2), (0, 0), (0, 0), **_GOOD)
    frame.devices.__class__.__dict__["prb"].__set__(frame.devices, np.zeros(3))
    assert take_in((frame,), topology).reasons == {"ragged": 2}


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


def _digests_when(topology, make_frame, claim, since_s):
    """Two intervals of three devices; device 6 makes the claim from a moment on, and it is the one with a good link."""
    pipeline = EdgePipeline(topology)
    honest = {"served_bits": 1e6, "prb": 2.0, "sinr_db": (5.0, 25.0, 6.0)}
    found = []
    for start_s in (0, 10):
        frames = []
        for time_s in range(start_s + 1, start_s + 11):
            told = claim if time_s > since_s else 1e6
            values = dict.fromkeys(("offered_bits", "backlog_bits", "dropped_bits"), (1000000.0, told, 1000000.0))
            frames.append(make_frame(time_s, (5, 6, 7), (0, 0, 0), (0, 0, 0), **honest | values))
        digest = pipeline.digest(frames, ())[0]
        found.append(digest.model_copy(update={"quality": None}))
    return found


@pytest.mark.parametrize("claim", [1e15, np.inf, -1.0])
def test_a_device_that_begins_to_claim_the_impossible_is_taken_at_its_last_believed_word(topology, make_frame, claim):
    lied = _digests_when(topology, make_frame, claim, since_s=10)
    honest = _digests_when(topology, make_frame, 1e6, since_s=10)
    assert lied[1].slices[0].backlog_kbit == honest[1].slices[0].backlog_kbit
    assert lied[1].slices[0].kbps_per_prb == honest[1].slices[0].kbps_per_prb
    assert lied[1].slices[0].num_devices == 3


def test_a_device_that_never_made_a_believable_claim_still_tells_of_its_link(topology, make_frame):
    lied = _digests_when(topology, make_frame, 1e15, since_s=0)
    honest = _digests_when(topology, make_frame, 1e6, since_s=0)
    assert [digest.slices[0].kbps_per_prb for digest in lied] == [digest.slices[0].kbps_per_prb for digest in honest]
    assert lied[1].slices[0].backlog_kbit == 2000.0


@pytest.mark.parametrize("ids", [(3, 1, 2, 1), (-5, 10**15, 7, 10**15), (0, 0, 0, 0), ()])
def test_devices_are_numbered_in_the_order_of_their_ids(topology, make_frame, ids):
    frames = [make_frame(t, (device,), (0,), (0,), **_GOOD) for t, device in enumerate(ids, start=1)]
    rows = take_in(frames, topology).rows
    distinct = sorted(set(ids))
    assert rows.num_devices == len(distinct)
    assert [distinct[place] for place in rows.device] == list(ids)


def test_a_device_whose_last_rows_were_refused_ends_with_the_last_good_one(topology, make_frame):
    served = ((1.0, 1.0, -1.0), (1.0, -1.0, -1.0))
    frames = [
        make_frame(t, (5, 6, 7), (0, 0, 0), (0, 0, 0), served_bits=bits) for t, bits in enumerate(served, start=1)
    ]
    rows = take_in(frames, topology).rows
    last = rows.last_of_devices()
    assert rows.device_id[last].tolist() == [6, 5]
    assert rows.time_s[last].tolist() == [1.0, 2.0]
