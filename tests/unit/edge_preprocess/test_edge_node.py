"""No interval is lost or repeated, wherever the process dies."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from edge_preprocess.edge_node import EdgeNode
from edge_preprocess.errors import SourceUnreadable, StateUnreadable
from edge_preprocess.wire import dump_frame, dump_log, dump_topology, parse_line
from telemetry_sim.records import LogRecord
from tests.edge_stage import uninterrupted


def _killed_after(cut, folder, lines):
    """What two nodes wrote, the second of which goes on where the first died."""
    state, out = folder / f"cut{cut}", folder / f"cut{cut}.jsonl"
    first = EdgeNode(state, out)
    for line in lines[:cut]:
        first.accept(line)
    second = EdgeNode(state, out)
    for line in lines[cut:]:
        second.accept(line)
    second.finish()
    first.stop()
    second.stop()
    return out.read_bytes()


def test_every_interval_gives_one_digest_per_cell(tmp_path, lines):
    digests = [json.loads(line) for line in uninterrupted(tmp_path, lines).splitlines()]
    assert [(d["cell"], d["end_s"]) for d in digests] == [(c, 10.0 * n) for n in range(1, 7) for c in (7, 9)]
    assert sum(d["quality"]["rows_quarantined"] for d in digests) == 1
    assert sum(event["count"] for d in digests for event in d["events"]) == 12


def test_killed_after_any_line_of_a_pipe_nothing_is_lost_or_repeated(tmp_path, lines):
    expected = uninterrupted(tmp_path, lines)
    for cut in range(1, len(lines)):
        assert _killed_after(cut, tmp_path, lines) == expected


class _Outbox:
    """Takes digests; they arrive at once, or never."""

    def __init__(self, *, is_empty):
        self.sent = []
        self.is_empty = is_empty

    def publish(self, digest):
        self.sent.append((digest.cell, digest.end_s))


def test_killed_after_any_line_each_digest_is_sent_at_least_once(tmp_path, lines):
    uninterrupted(tmp_path, lines)
    digests = [json.loads(line) for line in (tmp_path / "whole.jsonl").read_text().splitlines()]
    expected = [(digest["cell"], digest["end_s"]) for digest in digests]
    for cut in range(1, len(lines)):
        # The first process journals its last line and dies before it makes anything of it.
        folder, out = tmp_path / f"cut{cut}", tmp_path / f"cut{cut}.jsonl"
        before, after = _Outbox(is_empty=True), _Outbox(is_empty=True)
        first = EdgeNode(folder, out, outbox=before)
        for line in lines[:cut]:
            first.accept(line)
        first._journal.append(lines[cut])
        second = EdgeNode(folder, out, outbox=after)
        for line in lines[cut + 1 :]:
            second.accept(line)
        second.finish()
        first.stop()
        second.stop()
        # Only the last interval's can have been under way.
        again = before.sent[-2:]
        assert before.sent[: len(before.sent) - len(again)] + after.sent == expected


def test_digests_that_never_arrived_are_all_sent_again(tmp_path, lines):
    lost, sent = _Outbox(is_empty=False), _Outbox(is_empty=False)
    node = EdgeNode(tmp_path / "state", tmp_path / "out.jsonl", outbox=lost)
    for line in lines:
        node.accept(line)
    node.stop()
    EdgeNode(tmp_path / "state", tmp_path / "out.jsonl", outbox=sent).stop()
    assert sent.sent == lost.sent != []


def test_a_broken_clock_and_a_long_gap_stop_no_node_wherever_it_is_killed(tmp_path, lines, make_frame):
    def frame_at(time_s):
        return dump_frame(make_frame(time_s, (1,), (0,), (0,), served_bits=1e5, prb=1)).encode() + b"\n"

    leaping = [*lines[:9], frame_at(9e9), *lines[9:12], *(frame_at(9000.0 + 4.0 * step) for step in range(6))]
    expected = uninterrupted(tmp_path, leaping)
    digests = [json.loads(line) for line in expected.splitlines()]
    assert [d["end_s"] for d in digests if d["cell"] == 7] == [10.0, 20.0, 25.0, 9008.0, 9020.0]
    assert sum(d["quality"]["rows_quarantined"] for d in digests) == 3
    for cut in range(8, len(leaping)):
        assert _killed_after(cut, tmp_path, leaping) == expected


def test_a_source_that_starts_again_stops_no_node_wherever_it_is_killed(tmp_path, lines, make_frame):
    def frame_at(time_s):
        return dump_frame(make_frame(time_s, (1,), (0,), (0,), served_bits=1e5, prb=1)).encode() + b"\n"

    again = [*lines[:12], *(frame_at(4.0 * step) for step in range(1, 8))]
    expected = uninterrupted(tmp_path, again)
    digests = [json.loads(line) for line in expected.splitlines() if json.loads(line)["cell"] == 7]
    assert [d["end_s"] for d in digests] == [10.0, 20.0, 25.0, 20.0, 28.0]
    assert [d["quality"]["rows_quarantined"] for d in digests] == [0, 1, 2, 0, 0]
    for cut in range(8, len(again)):
        assert _killed_after(cut, tmp_path, again) == expected


def test_frames_and_lines_without_end_fill_no_memory(tmp_path, lines, make_frame, monkeypatch):
    monkeypatch.setattr("edge_preprocess.edge_node._MAX_DOUBTED", 3)
    monkeypatch.setattr("edge_preprocess.open_interval._MAX_LOGS", 4)
    stuck = dump_frame(make_frame(3.0, (1,), (0,), (0,), period_s=3.0, served_bits=1e5)).encode() + b"\n"
    line = dump_log(LogRecord(time_s=3.0, cell=0, source="gnb", text="ue=1 handover failure")).encode() + b"\n"
    node = EdgeNode(tmp_path / "state", tmp_path / "out.jsonl")
    for raw in (lines[0], *[stuck] * 10, *[line] * 10):
        node.accept(raw)
    node.finish()
    node.stop()
    quality = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])["quality"]
    assert (quality["rows_received"], quality["rows_accepted"]) == (20, 5)


def test_wide_frames_and_long_lines_fill_no_memory(tmp_path, lines, make_frame, monkeypatch):
    monkeypatch.setattr("edge_preprocess.open_interval._MAX_BYTES", 20_000)
    line = dump_log(LogRecord(time_s=1.0, cell=0, source="gnb", text="x" * 5_000)).encode() + b"\n"
    frames = [make_frame(1.0 + 0.1 * step, (1,), (0,), (0,), period_s=0.1, served_bits=1e5) for step in range(10)]
    node = EdgeNode(tmp_path / "state", tmp_path / "out.jsonl")
    for raw in (lines[0], *[line] * 3, *(dump_frame(frame).encode() for frame in frames)):
        node.accept(raw)
    node.finish()
    node.stop()
    quality = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])["quality"]
    assert (quality["rows_received"], quality["rows_accepted"]) == (13, 4)


def _frame_of(time_s, **parts):
    devices = {"device_id": [1], "cell": [0], "slice": [0], "served_bits": [1e5]}
    return json.dumps({"kind": "frame", "time_s": time_s, "period_s": 1.0, "devices": devices, **parts})


def _slices_of(num_bins):
    counts = {} if num_bins is None else {"delay_counts": np.ones((2, 2, num_bins), int).tolist()}
    return {"num_devices": [[1, 0], [0, 0]], **counts}


@pytest.mark.parametrize(
    ("bad", "num_refused"),
    [
        ([f'{{"kind":"log","text":"x","time_s":{10**400}}}'], 1),
        ([_frame_of(1.0, sensors={"value": 3})], 1),
        ([_frame_of(1.0, sensors={"value": [[3]]})], 1),
        ([_frame_of(1.0, sensors={"value": [3], "device_id": [2**62], "cell": [0], "stream": [0], "time_s": [1]})], 1),
        ([_frame_of(1.0, slices=_slices_of(None)), _frame_of(2.0, slices=_slices_of(121))], 0),
        ([_frame_of(1.0, slices=_slices_of(122)), _frame_of(2.0, slices=_slices_of(3))], 1),
        ([_frame_of(1.0, slices=_slices_of(123))], 1),
    ],
)
def test_no_line_of_a_stream_stops_a_node(tmp_path, lines, bad, num_refused):
    node = EdgeNode(tmp_path / "state", tmp_path / "out.jsonl")
    for line in (lines[0], *(one.encode() for one in bad), _frame_of(11.0).encode(), _frame_of(21.0).encode()):
        node.accept(line)
    node.finish()
    node.stop()
    digests = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert digests[-1]["end_s"] == 21.0
    assert sum(digest["quality"]["rows_quarantined"] for digest in digests) == num_refused


def test_the_last_bin_of_a_delay_histogram_may_be_left_out(tmp_path, lines):
    def delays(*num_bins):
        folder = tmp_path / repr(num_bins)
        node = EdgeNode(folder, folder / "out.jsonl")
        frames = (_frame_of(time_s, slices=_slices_of(num)) for time_s, num in enumerate(num_bins, start=1))
        for line in (lines[0], *(frame.encode() for frame in frames)):
            node.accept(line)
        node.finish()
        node.stop()
        first = json.loads((folder / "out.jsonl").read_text().splitlines()[0])
        return [part["delay_p95_ms"] for part in first["slices"]]

    assert delays(121, None, 121) == delays(121, 121)


def test_a_second_topology_is_counted_on_a_stream_and_refused_in_a_file(tmp_path, lines, topology):
    cells = (topology.cells[0].model_copy(update={"neighbours": ()}),)
    other = dump_topology(topology.model_copy(update={"cells": cells})).encode()
    node = EdgeNode(tmp_path / "state", tmp_path / "out.jsonl")
    for line in (lines[0], other, *lines[1:]):
        node.accept(line)
    node.finish()
    node.stop()
    first = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert first["quality"]["rows_quarantined"] == 1
    file = EdgeNode(tmp_path / "file", tmp_path / "file.jsonl", is_journalled=False)
    file.accept(lines[0])
    with pytest.raises(SourceUnreadable, match="one topology per edge node"):
        file.accept(other)


@pytest.mark.parametrize("is_held", [False, True])
def test_a_journalled_line_that_breaks_the_node_is_given_up_at_the_next_start(tmp_path, lines, monkeypatch, is_held):
    """It breaks the node when it is read or, where it was held, when its interval is digested."""

    def with_a_fault(raw):
        found = parse_line(raw)
        if raw.rstrip() != lines[5].rstrip():
            return found
        if is_held:
            return replace(found, devices=None)
        raise ValueError("a fault of this version")

    monkeypatch.setattr("edge_preprocess.edge_node.parse_line", with_a_fault)
    node = EdgeNode(tmp_path / "state", tmp_path / "out.jsonl")
    num_deaths = 0
    for line in lines:
        try:
            node.accept(line)
        except (ValueError, AttributeError):
            num_deaths += 1
            node.stop()
            node = EdgeNode(tmp_path / "state", tmp_path / "out.jsonl")
    node.finish()
    node.stop()
    digests = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert (num_deaths, digests[-1]["end_s"]) == (1, 60.0)
    # Five lines are given up: the open interval's four and the one that was under way. One more is junk.
    assert sum(digest["quality"]["rows_quarantined"] for digest in digests) == 6


def test_killed_between_the_steps_of_writing_nothing_is_lost_or_repeated(tmp_path, lines):
    expected = uninterrupted(tmp_path, lines)
    folder, out = tmp_path / "node", tmp_path / "node.jsonl"
    before, after = tmp_path / "before", tmp_path / "after"
    node = EdgeNode(folder, out)
    num_deaths = 0
    for number, line in enumerate(lines):
        shutil.rmtree(before, ignore_errors=True)
        shutil.copytree(folder, before)
        node.accept(line)
        state = folder / "edge.state"
        if not state.exists() or ((before / "edge.state").exists() and _same(state, before / "edge.state")):
            continue
        shutil.rmtree(after, ignore_errors=True)
        shutil.copytree(folder, after)
        # The line was journalled and the digests were written; the state was saved or not, the journal not begun.
        for saved in (before, after):
            num_deaths += 1
            dead, dead_out = tmp_path / f"dead{num_deaths}", tmp_path / f"dead{num_deaths}.jsonl"
            shutil.copytree(saved, dead)
            # Until there is a state, the place tells whose digests these are.
            (dead / "edge.begun").write_bytes(os.fsencode(dead_out))
            (dead / "edge.journal").write_bytes((before / "edge.journal").read_bytes() + line)
            shutil.copy(out, dead_out)
            risen = EdgeNode(dead, dead_out)
            for later in lines[number + 1 :]:
                risen.accept(later)
            risen.finish()
            risen.stop()
            assert dead_out.read_bytes() == expected
    node.stop()
    assert num_deaths == 10


def _same(one, other):
    return one.read_bytes() == other.read_bytes()


def test_a_line_that_was_being_journalled_is_taken_again_from_the_sender(tmp_path, lines):
    expected = uninterrupted(tmp_path, lines)
    folder, out = tmp_path / "node", tmp_path / "node.jsonl"
    node = EdgeNode(folder, out)
    for line in lines[:9]:
        node.accept(line)
    node.stop()
    with (folder / "edge.journal").open("ab") as file:
        file.write(lines[9][:20])
    risen = EdgeNode(folder, out)
    for line in lines[9:]:
        risen.accept(line)
    risen.finish()
    risen.stop()
    assert out.read_bytes() == expected


def test_a_damaged_or_foreign_state_is_refused(tmp_path, lines):
    folder, out = tmp_path / "whole", tmp_path / "whole.jsonl"
    uninterrupted(tmp_path, lines)
    with pytest.raises(StateUnreadable, match="intervals"):
        EdgeNode(folder, out, interval_s=5.0)
    raw = bytearray((folder / "edge.state").read_bytes())
    raw[200] ^= 1
    (folder / "edge.state").write_bytes(raw)
    with pytest.raises(StateUnreadable, match="damaged"):
        EdgeNode(folder, out)
    (folder / "edge.state").write_bytes(b"something else")
    with pytest.raises(StateUnreadable, match="something else"):
        EdgeNode(folder, out)


def test_telemetry_before_any_topology_is_refused(tmp_path, lines):
    node = EdgeNode(tmp_path / "state", tmp_path / "out.jsonl")
    node.accept(lines[1])
    node.accept(lines[3])
    with pytest.raises(SourceUnreadable, match="topology"):
        node.accept(lines[5])
    node.stop()
