"""Laws of the digest: nothing crashes it, nothing is lost silently, and what it says stays within its contract."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_preprocess.compact import pack, unpack
from edge_preprocess.pipeline import EdgePipeline
from telemetry_sim.records import (
    CellColumns,
    DeviceColumns,
    LogRecord,
    SensorColumns,
    SliceColumns,
    TelemetryFrame,
)
from telemetry_sim.topology import CellSite, SliceId, SliceProfile, Topology

_TOPOLOGY = Topology(
    cells=(CellSite(id=3, name="a", x_m=0, y_m=0, neighbours=(5,)), CellSite(id=5, name="b", x_m=1, y_m=1)),
    slices=tuple(
        SliceProfile(
            id=SliceId(sst=sst), name="s", five_qi=9, delay_budget_ms=50, in_time_target=0.9, packet_size_bits=8000
        )
        for sst in (1, 2)
    ),
)
_ODD = (np.nan, np.inf, -np.inf, -1.0, 0.0, 1e-300, 1e300, 5e12, -90.0, 1e-9)


def _junk(rng, shape, share):
    """Plausible numbers with a share of impossible ones."""
    values = rng.uniform(0.0, 100.0, shape)
    odd = rng.uniform(size=shape) < share
    values[odd] = rng.choice(_ODD, odd.sum())
    return values


def _frame(rng, time_s, share):
    count = int(rng.integers(0, 30))
    columns = {
        f.name: _junk(rng, count, share) for f in fields(DeviceColumns) if f.name not in {"device_id", "cell", "slice"}
    }
    devices = DeviceColumns(
        device_id=rng.integers(-5, 40, count),
        cell=rng.integers(-1, 3, count).astype(np.int16),
        slice=rng.integers(-1, 3, count).astype(np.int16),
        **columns,
    )
    slices = SliceColumns(
        delay_counts=rng.integers(-5, 50, (2, 2, 122)),
        **{f.name: _junk(rng, (2, 2), share) for f in fields(SliceColumns) if f.name != "delay_counts"},
    )
    cells = CellColumns(
        policy_version=rng.integers(-1, 9, 2).astype(np.int32),
        **{f.name: _junk(rng, 2, share) for f in fields(CellColumns) if f.name != "policy_version"},
    )
    readings = int(rng.integers(0, 9))
    sensors = SensorColumns(
        time_s=_junk(rng, readings, share),
        device_id=rng.integers(-5, 40, readings),
        cell=rng.integers(-1, 3, readings).astype(np.int16),
        stream=rng.integers(-1, 5, readings).astype(np.int16),
        value=_junk(rng, readings, share),
    )
    return TelemetryFrame(
        time_s=time_s,
        period_s=float(rng.choice([1.0, 1.0, 0.0, np.nan])) if share else 1.0,
        devices=devices,
        slices=slices if rng.random() < 0.7 else None,
        cells=cells if rng.random() < 0.7 else None,
        sensors=sensors if rng.random() < 0.7 else None,
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32),
    share=st.sampled_from([0.0, 0.02, 0.5]),
    texts=st.lists(st.text(), max_size=5),
    times=st.lists(st.floats(0.0, 100.0) | st.sampled_from([float("nan"), float("inf"), -5.0]), max_size=12),
)
def test_any_input_gives_valid_digests_and_every_row_is_accounted_for(seed, share, texts, times):
    rng = np.random.default_rng(seed)
    pipeline = EdgePipeline(_TOPOLOGY)
    received = refused = absurd = 0
    for _ in range(3):
        frames = [_frame(rng, time_s, share) for time_s in times]
        logs = [LogRecord(time_s=1.0, cell=int(rng.integers(-1, 3)), source="gnb", text=text) for text in texts]
        digests = pipeline.digest(frames, logs, unreadable={"line_bad_json": 1})
        assert [digest.cell for digest in digests] == [3, 5]
        sent = len(logs) + 1 + sum(len(frame.devices.device_id) for frame in frames)
        told = sum(digest.quality.rows_received for digest in digests)
        sent += sum(len(frame.sensors.value) for frame in frames if frame.sensors is not None)
        counters = pipeline.quarantine_reasons["counter_absurd"] - absurd
        absurd += counters
        assert told == sent + counters
        for digest in digests:
            quality = digest.quality
            assert quality.rows_received == quality.rows_accepted + quality.rows_quarantined
            assert unpack(pack(digest)) == digest
        received += told
        refused += sum(digest.quality.rows_quarantined for digest in digests)
    assert pipeline.quarantine_reasons.total() == refused <= received


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_the_order_of_a_frames_rows_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    frames = [_frame(rng, float(t), 0.0) for t in range(1, 6)]
    unique = [_chosen(frame, np.unique(frame.devices.device_id, return_index=True)[1]) for frame in frames]
    shuffled = [_chosen(frame, rng.permutation(len(frame.devices.device_id))) for frame in unique]
    first = EdgePipeline(_TOPOLOGY).digest(unique, ())
    assert EdgePipeline(_TOPOLOGY).digest(shuffled, ()) == first


def _chosen(frame, rows):
    columns = {f.name: getattr(frame.devices, f.name)[rows] for f in fields(DeviceColumns)}
    return TelemetryFrame(
        time_s=frame.time_s,
        period_s=frame.period_s,
        devices=DeviceColumns(**columns),
        slices=frame.slices,
        cells=frame.cells,
    )
