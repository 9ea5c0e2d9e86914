"""The small recordings beside this folder: every trap of each format is handled and counted."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from telemetry_sim.records import DeviceColumns
from telemetry_sim.traces import open_trace

RECORDINGS = Path(__file__).resolve().parent.parent / "recordings"


@pytest.fixture(scope="module")
def maker() -> Any:
    """The script that invented the recordings."""
    spec = importlib.util.spec_from_file_location("make_recordings", RECORDINGS / "make_recordings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_recordings"] = module
    spec.loader.exec_module(module)
    return module


def test_the_recordings_are_what_their_script_writes(maker: Any, tmp_path: Path) -> None:
    maker.main(tmp_path)
    for file in RECORDINGS.rglob("*"):
        if file.suffix in {".csv", ".txt", ".log"}:
            assert (tmp_path / file.relative_to(RECORDINGS)).read_text() == file.read_text(), file.name


def test_scope_rows_are_accepted_or_quarantined_with_their_reason(maker: Any) -> None:
    summary = open_trace(RECORDINGS / "scope_multi4").summary
    assert summary.quarantined == {
        "duplicate": maker.DUPLICATE_ROWS,
        "earlier_run": maker.EARLIER_ROWS,
        **maker.BAD_SCOPE_ROWS,
    }
    assert summary.rows_accepted == 4 * maker.SCOPE_ROWS_PER_DEVICE
    assert summary.rows_read == summary.rows_accepted + summary.rows_quarantined
    assert summary.notes["separator_columns"] == 4 * maker.SCOPE_HEADER.count(",,")


def test_scope_runs_are_split_at_the_silence() -> None:
    (_, first_end), (second_start, _) = open_trace(RECORDINGS / "scope_multi4").summary.runs_s
    assert second_start - first_end > 60


def test_scope_slices_come_from_the_traffic_classes_whatever_their_case(maker: Any) -> None:
    trace = open_trace(RECORDINGS / "scope_multi4")
    assert [(p.name, p.id.sst) for p in trace.topology.slices] == [("embb", 1), ("mmtc", 3), ("urllc", 2)]
    slice_of = {
        int(device): int(index)
        for frame in trace.frames()
        for device, index in zip(frame.devices.device_id, frame.devices.slice, strict=True)
    }
    assert slice_of == {999_700_000_000_000 + number: index for number, index in ((2, 0), (3, 1), (4, 2), (5, 2))}


def test_scope_demand_is_what_was_served_plus_the_growth_of_the_buffer() -> None:
    backlog: dict[int, float] = {}
    frames = list(open_trace(RECORDINGS / "scope_multi4").frames())
    grew = 0
    for earlier, frame in pairwise(frames):
        backlog = dict(zip(earlier.devices.device_id.tolist(), earlier.devices.backlog_bits.tolist(), strict=True))
        devices = frame.devices
        for row, device in enumerate(devices.device_id.tolist()):
            growth = devices.offered_bits[row] - devices.served_bits[row]
            if frame.time_s - earlier.time_s <= 1 and device in backlog and growth > 0:
                assert growth >= devices.backlog_bits[row] - backlog[device] - 1e-6
                grew += 1
    assert grew > 10


def test_explora_records_are_accepted_or_quarantined_with_their_reason(maker: Any) -> None:
    summary = open_trace(RECORDINGS / "explora").summary
    assert summary.quarantined == maker.BAD_EXPLORA_RECORDS
    assert summary.rows_read == summary.rows_accepted + summary.rows_quarantined
    states = maker.EXPLORA_STATES - maker.EXPLORA_ACTIONS_ON_OLD_STATE
    assert (summary.num_frames, summary.rows_accepted) == (states, 12 * states)
    assert summary.notes["actions_on_an_old_state"] == maker.EXPLORA_ACTIONS_ON_OLD_STATE
    assert summary.notes["actions_unreadable"] == summary.notes["states_cut_short"] == 1


def test_explora_decisions_stand_in_the_order_of_the_slices(maker: Any) -> None:
    trace = open_trace(RECORDINGS / "explora" / "xapp_invented_agent.log")
    assert len(trace.decisions) == maker.EXPLORA_STATES
    assert sum(decision.is_on_old_state for decision in trace.decisions) == maker.EXPLORA_ACTIONS_ON_OLD_STATE
    for decision in trace.decisions:
        assert sum(decision.slice_prb) == 50
        assert set(decision.schedulers) <= {"rr", "wf", "pf"}
        assert np.isfinite(decision.reward)
    times = [decision.time_s for decision in trace.decisions]
    assert times == sorted(times)


def test_explora_traffic_profile_is_told_from_the_rates() -> None:
    assert open_trace(RECORDINGS / "explora").summary.notes["traffic_profile"] == "profile_1"


def test_an_own_recording_comes_back_exactly(maker: Any) -> None:
    trace = open_trace(RECORDINGS / "own.parquet")
    expected = list(maker.own_frames())
    assert trace.topology == maker.own_topology()
    assert list(trace.logs()) == [log for _, logs, _ in expected for log in logs]
    assert list(trace.alarms()) == [alarm for _, _, alarms in expected for alarm in alarms]
    for frame, (wanted, _, _) in zip(trace.frames(), expected, strict=True):
        assert (frame.time_s, frame.period_s, frame.stream_names) == (wanted.time_s, 1.0, wanted.stream_names)
        for field in fields(DeviceColumns):
            np.testing.assert_array_equal(getattr(frame.devices, field.name), getattr(wanted.devices, field.name))
        assert (frame.sensors is None) == (wanted.sensors is None)
        if frame.sensors is not None:
            np.testing.assert_array_equal(frame.sensors.value, wanted.sensors.value)
