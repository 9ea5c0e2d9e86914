"""A journal stays within its bound while time stands still, and nothing is told twice because of it."""

from __future__ import annotations

import json

import pytest

from edge_preprocess.edge_node import EdgeNode
from edge_preprocess.wire import dump_frame, dump_log, dump_topology
from telemetry_sim.records import LogRecord


@pytest.fixture
def first(topology):
    """The line that every stream begins with."""
    return dump_topology(topology).encode() + b"\n"


@pytest.fixture
def frame_at(make_frame):
    """A line with one device's row at a time."""

    def line(time_s):
        return dump_frame(make_frame(time_s, (1,), (0,), (0,), period_s=0.001, served_bits=1e5)).encode() + b"\n"

    return line


@pytest.mark.parametrize("kind", ["frames", "logs", "junk", "frames of one interval"])
def test_a_stream_whose_time_stands_still_fills_no_disk_and_tells_what_it_dropped(
    tmp_path, first, frame_at, monkeypatch, caplog, kind
):
    monkeypatch.setattr("edge_preprocess.journal._MAX_BYTES", 20_000)

    log = dump_log(LogRecord(time_s=3.0, cell=0, source="gnb", text="ue=1 handover failure")).encode() + b"\n"
    flood = {
        "frames": [frame_at(3.0)] * 500,
        "logs": [log] * 500,
        "junk": [b"{junk" + b"x" * 100 + b"\n"] * 500,
        "frames of one interval": [frame_at(3.0 + 0.01 * step) for step in range(1, 501)],
    }[kind]
    node = EdgeNode(tmp_path / "state", tmp_path / "out.jsonl")
    journal = tmp_path / "state" / "edge.journal"
    for raw in (first, frame_at(2.9), *flood):
        node.accept(raw)
    assert journal.stat().st_size < 20_000 + max(map(len, [*flood, first]))
    num_dropped = node.untold["journal_full"]
    assert 0 < num_dropped < 500
    assert "time stands still" in caplog.text
    # Time goes on: nothing more is dropped, and every line has been counted once.
    for raw in (frame_at(12.0), frame_at(13.0), frame_at(22.0)):
        node.accept(raw)
    node.finish()
    node.stop()
    quality = [json.loads(line)["quality"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    received = sum(each["rows_received"] for each in quality[:2])
    assert received == 501
    assert received == sum(each["rows_accepted"] + each["rows_quarantined"] for each in quality[:2])
    assert sum(each["rows_received"] for each in quality[2:]) == 3
    assert journal.stat().st_size < 1_000


def test_a_source_that_starts_again_begins_a_new_journal_where_it_was_full(tmp_path, first, frame_at, monkeypatch):
    monkeypatch.setattr("edge_preprocess.journal._MAX_BYTES", 5_000)
    node = EdgeNode(tmp_path / "state", tmp_path / "out.jsonl")
    for raw in (first, *(frame_at(91.0 + 0.01 * step) for step in range(100))):
        node.accept(raw)
    for time_s in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 11.0):
        node.accept(frame_at(time_s))
    node.stop()
    digests = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    # Two frames of the new start were dropped and the digest's own clock doubts as many once more.
    assert [(d["quality"]["rows_received"], d["end_s"]) for d in digests if d["cell"] == 7][1:] == [(4, 6.0)]
    assert digests[0]["quality"]["rows_received"] == 102


def test_a_full_journal_is_taken_again_as_it_was_after_a_kill(tmp_path, first, frame_at, monkeypatch):
    monkeypatch.setattr("edge_preprocess.journal._MAX_BYTES", 5_000)

    killed = EdgeNode(tmp_path / "state", tmp_path / "out.jsonl")
    for raw in (first, *(frame_at(1.0 + 0.01 * step) for step in range(100))):
        killed.accept(raw)
    again = EdgeNode(tmp_path / "state", tmp_path / "out.jsonl")
    for raw in (frame_at(9.0), frame_at(9000.0), frame_at(9001.0), frame_at(9002.0)):
        again.accept(raw)
    killed.stop()
    again.finish()
    again.stop()
    digests = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    # A leap is believed once another frame carries on from it, also by a node whose journal was full.
    assert [d["end_s"] for d in digests if d["cell"] == 7][-1] == 9002.0
