"""A frame's parts beside its device rows, as bytes."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest

from telemetry_sim.errors import TraceUnreadable
from telemetry_sim.records import SensorColumns, TelemetryFrame
from telemetry_sim.traces.frame_building import COLUMNS, device_columns
from telemetry_sim.traces.parquet_extras import pack_extras, unpack_extras


def frame_with(ids: list[int], stamps_s: list[float]) -> TelemetryFrame:
    nothing: dict[str, Any] = {name: np.empty(0) for name in COLUMNS}
    return TelemetryFrame(
        time_s=1.0,
        period_s=1.0,
        devices=device_columns([], [], [], nothing),
        slices=None,
        cells=None,
        sensors=SensorColumns(
            time_s=np.array(stamps_s),
            device_id=np.array(ids),
            cell=np.zeros(len(ids), np.int16),
            stream=np.zeros(len(ids), np.int16),
            value=np.ones(len(ids)),
        ),
        stream_names=("level",),
    )


@pytest.mark.parametrize("ids", [[], [7], [1, 2, 5], [5, 90_000, 90_001], [30_000, 60_000]])
@pytest.mark.parametrize("is_skewed", [False, True])
def test_readings_come_back_as_they_were(ids: list[int], is_skewed: bool) -> None:
    stamps_s = [1.0 + is_skewed * index for index in range(len(ids))]
    extras = unpack_extras(pack_extras(frame_with(ids, stamps_s), (), (), (), is_exact=True))
    assert extras.sensors is not None
    assert extras.sensors.device_id.tolist() == ids
    assert extras.sensors.time_s.tolist() == stamps_s
    assert extras.sensors.cell.dtype == np.int16


def test_readings_of_one_time_take_hardly_any_room() -> None:
    ids = list(range(50_000))
    packed = pack_extras(frame_with(ids, [1.0] * len(ids)), (), (), (), is_exact=True)
    # The file compresses them.
    assert len(zlib.compress(packed, 1)) < 5000


@pytest.mark.parametrize("shape", [[1 << 40], [1 << 20, 1 << 20], [-1], [1 << 62, 4]])
def test_one_value_that_claims_to_fill_the_memory_is_refused(shape: list[int]) -> None:
    header = {
        "arrays": [["sensors.value", "<f8", shape, "same"]],
        "streams": [],
        "logs": [],
        "alarms": [],
        "decisions": [],
    }
    text = json.dumps(header).encode()
    packed = zlib.compress(struct.pack("<I", len(text)) + text + bytes(8))
    with pytest.raises(TraceUnreadable):
        unpack_extras(packed)
