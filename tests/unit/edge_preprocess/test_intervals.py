"""Frames and lines cut into intervals."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from edge_preprocess.commands import digest
from edge_preprocess.intervals import cut, interval_number
from telemetry_sim.records import LogRecord


def _line(time_s):
    return LogRecord(time_s=time_s, cell=0, source="gnb", text="x")


def test_an_intervals_end_belongs_to_it():
    assert [interval_number(t, 10.0) for t in (0.1, 9.9, 10.0, 10.1, 20.0)] == [1, 1, 1, 2, 2]
    assert interval_number(0.3, 0.1) == 3


def test_every_frame_and_line_comes_in_exactly_one_interval(make_frame):
    frames = [make_frame(float(t)) for t in (1, 5, 10, 11, 35, 40)]
    lines = [_line(t) for t in (0.5, 10.0, 10.5, 25.0, 39.0, 99.0)]
    found = [
        (i.number, [f.time_s for f in i.frames], [r.time_s for r in i.logs])
        for i in cut(frames, lines, interval_s=10.0)
    ]
    assert found == [(1, [1, 5, 10], [0.5, 10.0]), (2, [11], [10.5]), (4, [35, 40], [25.0, 39.0, 99.0])]


def test_frames_that_go_back_stay_where_they_came(make_frame):
    frames = [make_frame(t) for t in (1.0, 12.0, 3.0, float("nan"), 13.0)]
    assert [len(i.frames) for i in cut(frames, (), interval_s=10.0)] == [1, 4]


def test_nothing_gives_nothing():
    assert list(cut((), (), interval_s=10.0)) == []


@pytest.mark.data
def test_a_recording_is_digested_whole(recorded_data, tmp_path):
    folder = recorded_data / "tractor_multi_ue" / "Trial2" / "multi4"
    rows = tmp_path / "rows.jsonl"
    result = CliRunner().invoke(digest, ["trace", str(folder), "--json", "--rows", str(rows), "--limit", "2"])
    document = json.loads(result.stdout)
    read = document["trace_rows"]
    assert read["read"] == read["accepted"] + sum(read["quarantined"].values())
    edge = document["edge_rows"]
    assert edge["received"] == edge["accepted"] + sum(edge["quarantined"].values())
    assert len(rows.read_text().splitlines()) == document["num_digests"] > 100
    assert len(document["digests"]) == 2


@pytest.mark.data
def test_a_table_that_nobody_watches_is_not_cut(recorded_data):
    folder = recorded_data / "tractor_multi_ue" / "Trial2" / "multi4"
    shown = CliRunner().invoke(digest, ["trace", str(folder), "--limit", "3"], catch_exceptions=False).stdout
    heading = next(line for line in shown.splitlines() if "until" in line)
    assert all(name in heading for name in ("demand kb/s", "served kb/s", "kb/s per PRB", "SLA risk"))
    assert "…" not in shown
