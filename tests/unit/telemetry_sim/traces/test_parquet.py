"""The recorder of the project's own format: precision, size, breaks and refusals."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pytest

from telemetry_sim.errors import TraceUnreadable
from telemetry_sim.records import CellColumns, DeviceColumns, LogRecord, SliceColumns, TelemetryFrame
from telemetry_sim.topology import CellSite, SliceId, SliceProfile, Topology
from telemetry_sim.traces import ParquetRecorder, open_trace
from telemetry_sim.traces.frame_building import COLUMNS, device_columns
from telemetry_sim.traces.parquet_columns import COMPACT, LogScale, decode_columns, encode_columns

if TYPE_CHECKING:
    from pathlib import Path


def topology(name: str = "cell") -> Topology:
    profile = SliceProfile(
        id=SliceId(sst=1), name="s", five_qi=9, delay_budget_ms=300.0, in_time_target=0.9, packet_size_bits=1e4
    )
    return Topology(cells=(CellSite(id=1, name=name, x_m=0.0, y_m=0.0),), slices=(profile,))


def make_frame(time_s: float, num_devices: int, *, seed: int = 0) -> TelemetryFrame:
    rng = np.random.default_rng([seed, int(1000 * time_s)])
    columns = {name: rng.uniform(0.1, 20, num_devices) for name in COLUMNS}
    columns["in_time_bits"] = columns["served_bits"] * 0.5
    columns["rsrp_dbm"] = -columns["rsrp_dbm"] - 60
    zeros = np.zeros(num_devices, dtype=np.int64)
    return TelemetryFrame(
        time_s=time_s,
        period_s=1.0,
        devices=device_columns(np.arange(num_devices), zeros, zeros, columns),
        slices=SliceColumns(
            **{f.name: rng.random((1, 1)) for f in fields(SliceColumns) if f.name != "delay_counts"},
            delay_counts=rng.integers(0, 5, (1, 1, 122)),
        ),
        cells=CellColumns(
            **{f.name: np.array([rng.random()]) for f in fields(CellColumns) if f.name != "policy_version"},
            policy_version=np.array([3], dtype=np.int32),
        ),
    )


def _break_after(file: Path, frames: list[TelemetryFrame]) -> None:
    with contextlib.suppress(KeyboardInterrupt), ParquetRecorder(file, topology(), is_exact=True) as recorder:
        for frame in frames:
            recorder.write(frame)
        raise KeyboardInterrupt


def test_compact_columns_keep_their_declared_precision() -> None:
    rng = np.random.default_rng(1)
    values = {name: 10.0 ** rng.uniform(-1, 6, 5000) for name in COLUMNS}
    for name in ("sinr_db", "rsrp_dbm", "bler", "cqi", "mcs"):
        values[name] = rng.uniform(-150, 50, 5000)
    for column in values.values():
        column[:10], column[10:20] = np.nan, 0.0
    back = decode_columns(encode_columns(values))
    for name, scale in COMPACT.items():
        known = ~np.isnan(values[name])
        np.testing.assert_array_equal(np.isnan(back[name]), ~known)
        error = np.abs(back[name] - values[name])[known]
        if isinstance(scale, LogScale):
            allowed = values[name][known] * (2 ** (0.5 / scale.steps) - 1) + (values[name][known] < scale.least)
            assert np.all(error <= allowed * (1 + 1e-9))
        else:
            assert np.all(error <= scale.step / 2 * (1 + 1e-9))


@pytest.mark.parametrize("rows_per_group", [1, 50, 100_000])
def test_frames_come_back_exactly_however_they_are_grouped(tmp_path: Path, rows_per_group: int) -> None:
    frames = [make_frame(time_s, 20) for time_s in range(1, 12)]
    file = tmp_path / "run.parquet"
    with ParquetRecorder(
        file, topology(), is_exact=True, rows_per_group=rows_per_group, groups_per_segment=2
    ) as recorder:
        for frame in frames:
            recorder.write(frame, [LogRecord(time_s=frame.time_s, cell=0, source="gnb", text="naïve \x1b[0m line")])
    trace = open_trace(file)
    assert [path.name for path in tmp_path.iterdir()] == ["run.parquet"]
    assert len(list(trace.logs())) == len(frames)
    for back, frame in zip(trace.frames(), frames, strict=True):
        for part in ("devices", "slices", "cells"):
            for field in fields(getattr(frame, part)):
                wanted = getattr(getattr(frame, part), field.name)
                got = getattr(getattr(back, part), field.name)
                np.testing.assert_array_equal(got, wanted)
                assert got.dtype == wanted.dtype


def test_a_broken_recording_is_taken_up_where_it_stopped(tmp_path: Path) -> None:
    frames = [make_frame(time_s, 20) for time_s in range(1, 12)]
    file = tmp_path / "run.parquet"
    _break_after(file, frames[:5])
    assert not file.exists()
    with ParquetRecorder(file, topology(), is_exact=True, resume=True) as recorder:
        assert recorder.last_time_s == 5
        for frame in frames:
            recorder.write(frame)
    assert [frame.time_s for frame in open_trace(file).frames()] == list(range(1, 12))


def test_a_finished_recording_can_be_lengthened(tmp_path: Path) -> None:
    file = tmp_path / "run.parquet"
    for last in (3, 6):
        with ParquetRecorder(file, topology(), resume=True) as recorder:
            for time_s in range(1, last + 1):
                recorder.write(make_frame(time_s, 4))
        assert open_trace(file).summary.num_frames == last


def test_a_recording_of_another_topology_is_not_continued(tmp_path: Path) -> None:
    file = tmp_path / "run.parquet"
    with ParquetRecorder(file, topology()) as recorder:
        recorder.write(make_frame(1, 4))
    with pytest.raises(TraceUnreadable, match="another topology"):
        ParquetRecorder(file, topology("other"), resume=True)
    assert open_trace(file).summary.num_frames == 1


def test_a_recording_with_other_notes_is_not_continued_but_one_that_lacks_a_note_is(tmp_path: Path) -> None:
    file = tmp_path / "run.parquet"
    with ParquetRecorder(file, topology(), notes={"seed": 1}) as recorder:
        recorder.write(make_frame(1, 4))
    for notes in ({"seed": 2}, {"scenario": "x"}):
        with pytest.raises(TraceUnreadable, match=r"another seed \(1, not (2|None)\)"):
            ParquetRecorder(file, topology(), resume=True, notes=notes)
    with ParquetRecorder(file, topology(), resume=True, notes={"seed": 1, "num_devices": 4}) as recorder:
        recorder.write(make_frame(2, 4))
    assert open_trace(file).summary.num_frames == 2


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, kept: float) -> None:
    file = tmp_path / "run.parquet"
    with ParquetRecorder(file, topology()) as recorder:
        recorder.write(make_frame(1, 400))
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(TraceUnreadable, match="cut off"):
        open_trace(file)


def test_a_recording_without_frames_is_refused_when_read(tmp_path: Path) -> None:
    file = tmp_path / "run.parquet"
    assert ParquetRecorder(file, topology()).close().num_rows == 0
    with pytest.raises(TraceUnreadable, match="no frame"):
        open_trace(file)


def test_parquet_of_others_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    with pytest.raises(TraceUnreadable, match="format and version"):
        open_trace(tmp_path / "other.parquet")


def test_a_steady_network_takes_at_most_twelve_bytes_a_row(tmp_path: Path) -> None:
    num_devices, file = 500, tmp_path / "run.parquet"
    rng = np.random.default_rng(2)
    shadow = rng.normal(0, 6, num_devices)
    with ParquetRecorder(file, topology()) as recorder:
        for time_s in range(1, 61):
            offered = rng.poisson(3, num_devices) * 8000.0
            sinr = 12 + shadow + rng.normal(0, 2, num_devices)
            columns = {
                "offered_bits": offered,
                "served_bits": offered,
                "in_time_bits": offered,
                "dropped_bits": np.zeros(num_devices),
                "backlog_bits": np.zeros(num_devices),
                "delay_ms": np.where(offered > 0, rng.exponential(3, num_devices), np.nan),
                "prb": offered / 5e5,
                "sinr_db": sinr,
                "rsrp_dbm": shadow - 90,
                "cqi": np.clip(sinr // 2, 0, 15),
                "mcs": np.clip(sinr, 0, 28) // 1,
                "bler": np.clip(rng.exponential(0.03, num_devices), 0, 1),
                "energy_j": 0.02 + offered * 1e-6,
            }
            ids, zeros = np.arange(num_devices), np.zeros(num_devices, dtype=np.int64)
            frame = make_frame(time_s, 0)
            recorder.write(replace(frame, devices=device_columns(ids, zeros, zeros, columns), slices=None, cells=None))
    size = recorder.close()
    assert size.num_rows == 60 * num_devices
    assert size.bytes_per_row <= 12


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with ParquetRecorder(tmp_path / f"{name}.parquet", topology()) as recorder:
            recorder.write(make_frame(1, 50))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    shutil.rmtree(tmp_path)


def test_a_recording_names_the_measurements_of_its_columns(tmp_path: Path) -> None:
    file = tmp_path / "run.parquet"
    with ParquetRecorder(file, topology()) as recorder:
        recorder.write(make_frame(1, 4))
    told = json.loads(pq.read_schema(file).metadata[b"edgewright"])["measurements"]
    assert told["delay_ms"] == "DRB.RlcSduDelayDl"
    assert set(told) <= {field.name for field in fields(DeviceColumns)}
