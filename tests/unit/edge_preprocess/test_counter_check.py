"""Cells' counters and sensors' readings that can't be: hidden, counted, and everything else as it was."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edge_preprocess.pipeline import EdgePipeline
from telemetry_sim.records import SensorColumns

_GOOD = {"offered_bits": 10.0, "served_bits": 10.0}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("interference_dbm", 1e-9),
        ("interference_dbm", np.inf),
        ("edge_utilisation", 57.0),
        ("energy_j", -1.0),
        ("backhaul_delay_ms", 1e12),
        ("prb_used", np.inf),
    ],
)
def test_a_cells_absurd_counter_is_counted_and_changes_nothing_else(
    topology, make_frame, make_cell_columns, name, value
):
    def digests(values):
        frames = [
            make_frame(t, (1,), (0,), (0,), cells=make_cell_columns(**{name: given}), **_GOOD)
            for t, given in enumerate(values, start=1)
        ]
        pipeline = EdgePipeline(topology)
        return pipeline.digest(frames, ()), pipeline.quarantine_reasons

    (first, second), reasons = digests([np.nan, (np.nan, value), np.nan])
    usual, _ = digests([np.nan, np.nan, np.nan])
    assert reasons == {"counter_absurd": 1}
    assert (first.quality.rows_quarantined, second.quality.rows_quarantined) == (0, 1)
    assert second.quality.rows_received == second.quality.rows_accepted + 1
    assert second.model_copy(update={"quality": usual[1].quality}) == usual[1]


def test_a_slices_absurd_counter_is_counted(topology, make_frame, make_slice_columns):
    frame = make_frame(1, (1,), (0,), (0,), slices=make_slice_columns(served_bits=((1.0, -5.0), (1e300, 1.0))), **_GOOD)
    pipeline = EdgePipeline(topology)
    digests = pipeline.digest((frame,), ())
    assert pipeline.quarantine_reasons == {"counter_absurd": 2}
    assert [one.quality.rows_quarantined for one in digests] == [1, 1]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"device_id": 2**51}, "sensor_unknown_device"),
        ({"value": np.nan}, "sensor_missing"),
        ({"value": -np.inf}, "sensor_infinite"),
        ({"value": 1e15}, "sensor_absurd"),
        ({"cell": 9}, "sensor_unknown_cell"),
        ({"stream": -1}, "sensor_unknown_stream"),
        ({"time_s": 60.0}, "sensor_clock_ahead"),
        ({"time_s": np.nan}, "sensor_clock_ahead"),
    ],
)
def test_a_reading_that_cannot_be_is_counted_with_its_reason(topology, make_frame, changes, reason):
    given = {"time_s": 1.0, "device_id": 1, "cell": 0, "stream": 0, "value": 20.0} | changes
    kinds = {"device_id": np.int64, "cell": np.int16, "stream": np.int16}
    sensors = SensorColumns(**{name: np.array([one], dtype=kinds.get(name, float)) for name, one in given.items()})
    frame = dataclasses.replace(make_frame(1, (1,), (0,), (0,), **_GOOD), sensors=sensors)
    pipeline = EdgePipeline(topology)
    first, _ = pipeline.digest((frame,), ())
    assert pipeline.quarantine_reasons == {reason: 1}
    assert (first.quality.rows_received, first.quality.rows_quarantined) == (2, 1)


def test_readings_of_a_refused_frame_are_counted_too(topology, make_frame):
    readings = SensorColumns(
        time_s=np.ones(3),
        device_id=np.arange(3),
        cell=np.zeros(3, dtype=np.int16),
        stream=np.zeros(3, dtype=np.int16),
        value=np.ones(3),
    )
    frame = dataclasses.replace(make_frame(-1.0, (1,), (0,), (0,), **_GOOD), sensors=readings)
    pipeline = EdgePipeline(topology)
    first, _ = pipeline.digest((frame,), ())
    assert pipeline.quarantine_reasons == {"time_invalid": 4}
    assert (first.quality.rows_received, first.quality.rows_quarantined) == (4, 4)
