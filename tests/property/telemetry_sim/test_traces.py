"""Laws of the trace readers: rows are never lost, damage never passes for data, recordings come back."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from telemetry_sim.errors import TraceUnreadable
from telemetry_sim.records import Alarm, LogRecord, SensorColumns, Severity, TelemetryFrame
from telemetry_sim.topology import CellSite, SliceId, SliceProfile, Topology
from telemetry_sim.traces import ParquetRecorder, open_trace
from telemetry_sim.traces.frame_building import COLUMNS, device_columns

RECORDINGS = Path(__file__).resolve().parents[2] / "replay" / "recordings"

TOPOLOGY = Topology(
    cells=(CellSite(id=1, name="cell", x_m=0.0, y_m=0.0),),
    slices=(
        SliceProfile(
            id=SliceId(sst=1), name="s", five_qi=9, delay_budget_ms=300.0, in_time_target=0.9, packet_size_bits=1e4
        ),
    ),
)

damages = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True), st.sampled_from(["flip", "cut", "drop", "insert"]), st.binary(max_size=40)
    ),
    min_size=1,
    max_size=5,
)


def _damaged(content: bytes, damage: list[tuple[float, str, bytes]]) -> bytes:
    for where, what, extra in damage:
        place = int(where * len(content))
        if what == "cut":
            content = content[:place]
        elif what == "drop":
            content = content[:place] + content[place + 50 :]
        elif what == "insert":
            content = content[:place] + extra + content[place:]
        else:
            content = content[:place] + bytes(255 - byte for byte in content[place : place + 1]) + content[place + 1 :]
    return content


def _read(path: Path) -> None:
    """Go through a trace; a refusal is fine, losing a row or failing otherwise is not."""
    try:
        trace = open_trace(path)
        num_frames = sum(1 for _ in trace.frames())
    except TraceUnreadable:
        return
    summary = trace.summary
    assert summary.rows_read == summary.rows_accepted + summary.rows_quarantined
    assert num_frames == summary.num_frames


@settings(max_examples=40, deadline=None)
@given(damage=damages)
def test_a_damaged_explora_log_is_read_or_refused(damage: list[tuple[float, str, bytes]]) -> None:
    content = (RECORDINGS / "explora" / "xapp_invented_agent.log").read_bytes()
    with TemporaryDirectory() as folder:
        file = Path(folder) / "agent.log"
        file.write_bytes(_damaged(content, damage))
        _read(file)


@settings(max_examples=25, deadline=None)
@given(damage=damages, which=st.integers(0, 3))
def test_a_damaged_scope_run_is_read_or_refused(damage: list[tuple[float, str, bytes]], which: int) -> None:
    with TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        shutil.copytree(RECORDINGS / "scope_multi4", run)
        file = sorted(run.glob("*.csv"))[which]
        file.write_bytes(_damaged(file.read_bytes(), damage))
        _read(run)


@settings(max_examples=40, deadline=None)
@given(damage=damages)
def test_a_damaged_recording_never_passes_for_data(damage: list[tuple[float, str, bytes]]) -> None:
    content = (RECORDINGS / "own.parquet").read_bytes()
    with TemporaryDirectory() as folder:
        file = Path(folder) / "own.parquet"
        file.write_bytes(_damaged(content, damage))
        try:
            found = [frame.devices for frame in open_trace(file).frames()]
        except TraceUnreadable:
            return
        # Bytes outside the columns may change, such as a cell's name; what was measured may not.
        for devices, frame in zip(found, open_trace(RECORDINGS / "own.parquet").frames(), strict=True):
            for name in COLUMNS:
                np.testing.assert_array_equal(getattr(devices, name), getattr(frame.devices, name))


@settings(max_examples=40, deadline=None)
@given(text=st.binary(max_size=400), name=st.sampled_from(["a.csv", "a.log", "a.txt", "a.parquet", "a_metrics.csv"]))
def test_any_bytes_are_read_or_refused(text: bytes, name: str) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(text)
        _read(file)


amounts = st.one_of(st.just(np.nan), st.just(0.0), st.floats(1.0, 1e12))


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 6), min_size=1, max_size=6),
    data=st.data(),
    texts=st.lists(st.text(max_size=30), max_size=3),
)
def test_exact_recordings_come_back_bit_by_bit(sizes: list[int], data: st.DataObject, texts: list[str]) -> None:
    frames = []
    for index, size in enumerate(sizes):
        ids = sorted(data.draw(st.sets(st.integers(0, 2**40), min_size=size, max_size=size)))
        columns = {name: data.draw(hnp.arrays(np.float64, size, elements=amounts)) for name in COLUMNS}
        zeros = [0] * size
        readings = SensorColumns(
            time_s=np.arange(size, dtype=np.float64),
            device_id=np.array(ids, dtype=np.int64),
            cell=np.zeros(size, dtype=np.int16),
            stream=np.zeros(size, dtype=np.int16),
            value=columns["prb"],
        )
        frames.append(
            TelemetryFrame(
                time_s=float(index + 1),
                period_s=1.0,
                devices=device_columns(ids, zeros, zeros, columns),
                sensors=readings,
                stream_names=("x",),
            )
        )
    logs = [LogRecord(time_s=0.5, cell=0, source="gnb", text=text) for text in texts]
    alarms = [Alarm(time_s=0.5, cell=0, severity=Severity.MINOR, kind="k")]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "run.parquet"
        with ParquetRecorder(file, TOPOLOGY, is_exact=True, rows_per_group=7, groups_per_segment=1) as recorder:
            for frame in frames:
                recorder.write(frame, logs, alarms)
        trace = open_trace(file)
        assert list(trace.logs()) == logs * len(frames)
        assert list(trace.alarms()) == alarms * len(frames)
        for back, frame in zip(trace.frames(), frames, strict=True):
            np.testing.assert_array_equal(back.devices.device_id, frame.devices.device_id)
            for name in COLUMNS:
                np.testing.assert_array_equal(getattr(back.devices, name), getattr(frame.devices, name))
            assert back.sensors is not None
            assert frame.sensors is not None
            np.testing.assert_array_equal(back.sensors.value, frame.sensors.value)
            np.testing.assert_array_equal(back.sensors.device_id, frame.sensors.device_id)
