"""Telemetry lines: what is written is read again, and nothing crashes the reader."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_preprocess.wire import Unreadable, dump_frame, dump_log, parse_line
from telemetry_sim.records import (
    CellColumns,
    DeviceColumns,
    LogRecord,
    SensorColumns,
    SliceColumns,
    TelemetryFrame,
)

_PATIENT = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
_FLOATS = st.one_of(st.just(float("nan")), st.floats(-1e12, 1e12))


_INTEGERS = {"device_id": np.int64, "cell": np.int16, "slice": np.int16, "stream": np.int16, "policy_version": np.int32}


@st.composite
def _columns(draw, kind, shape):
    """Each column is all NaN now and then: a source that does not report it."""
    return kind(**{column.name: draw(_column(column.name, shape)) for column in fields(kind)})


def _column(name, shape):
    if name == "delay_counts":
        return st.integers(1, 4).flatmap(lambda bins: arrays(np.int64, (*shape, bins), elements=st.integers(0, 9)))
    if name in _INTEGERS:
        return arrays(_INTEGERS[name], shape, elements=st.integers(-1, 9))
    return st.one_of(st.just(np.full(shape, np.nan)), arrays(np.float64, shape, elements=_FLOATS))


@st.composite
def _frames(draw):
    num_devices, num_readings = draw(st.integers(0, 4)), draw(st.integers(0, 3))
    num_cells, num_slices = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return TelemetryFrame(
        time_s=draw(st.floats(0, 1e9)),
        period_s=draw(st.floats(0.1, 100)),
        devices=draw(_columns(DeviceColumns, (num_devices,))),
        slices=draw(st.none() | _columns(SliceColumns, (num_cells, num_slices))),
        cells=draw(st.none() | _columns(CellColumns, (num_cells,))),
        sensors=draw(st.none() | _columns(SensorColumns, (num_readings,))),
        stream_names=tuple(draw(st.lists(st.text(max_size=64), max_size=3))),
    )


@_PATIENT
@given(_frames())
def test_a_frame_is_read_as_it_was_written(frame):
    again = parse_line(dump_frame(frame).encode())
    assert isinstance(again, TelemetryFrame)
    for name in ("time_s", "period_s", "stream_names"):
        assert getattr(again, name) == getattr(frame, name)
    for name in ("devices", "slices", "cells", "sensors"):
        part, found = getattr(frame, name), getattr(again, name)
        assert (found is None) == (part is None)
        for column in () if part is None else fields(part):
            wanted, got = getattr(part, column.name), getattr(found, column.name)
            assert got.dtype == wanted.dtype, column.name
            np.testing.assert_array_equal(got, wanted)


def _nothing_reported(kind, shape):
    made = {column.name: np.full(shape, np.nan) for column in fields(kind)}
    made |= {name: np.full(shape, -1, dtype) for name, dtype in _INTEGERS.items() if name in made}
    return kind(**made | ({"delay_counts": np.zeros((*shape, 2), int)} if "delay_counts" in made else {}))


def test_a_frame_in_which_nothing_is_reported_is_read_as_it_was_written():
    frame = TelemetryFrame(
        time_s=1.0,
        period_s=1.0,
        devices=_nothing_reported(DeviceColumns, (2,)),
        slices=_nothing_reported(SliceColumns, (2, 3)),
        cells=_nothing_reported(CellColumns, (2,)),
        sensors=_nothing_reported(SensorColumns, (2,)),
    )
    again = parse_line(dump_frame(frame).encode())
    assert isinstance(again, TelemetryFrame)
    assert (again.slices.num_devices.shape, again.cells.prb_used.shape, again.sensors.value.shape) == (
        (2, 3),
        (2,),
        (2,),
    )


@pytest.mark.parametrize("part", [{"cells": {}}, {"cells": {"prb_used": [[1]]}}, {"slices": {"num_devices": [1]}}])
def test_a_part_without_a_shape_of_its_kind_is_named(part):
    document = {"kind": "frame", "time_s": 1.0, "period_s": 1.0, "devices": {"device_id": []}}
    assert parse_line(json.dumps(document | part).encode()) is Unreadable.BAD_FRAME


@_PATIENT
@given(st.text(), st.floats(0, 1e9), st.integers(-5, 5))
def test_a_log_line_is_read_as_it_was_written(text, time_s, cell):
    record = LogRecord(time_s=time_s, cell=cell, source="gnb", text=text)
    assert parse_line(dump_log(record).encode()) == record


@_PATIENT
@given(st.binary())
def test_bytes_that_are_no_telemetry_are_named_and_nothing_breaks(raw):
    assert isinstance(parse_line(raw), Unreadable)


def test_a_line_whose_missing_columns_would_fill_the_memory_is_named(monkeypatch):
    monkeypatch.setattr("edge_preprocess.wire._MAX_ENTRIES", 100)
    document = {"kind": "frame", "time_s": 1.0, "period_s": 1.0, "devices": {"device_id": []}}
    for count, kind in ((100, TelemetryFrame), (101, Unreadable)):
        line = json.dumps(document | {"slices": {"num_devices": [[1] * count]}}).encode()
        assert isinstance(parse_line(line), kind)


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(st.sampled_from(["devices", "device_id", "value"]), inner)
    ),
)


@_PATIENT
@given(
    st.sampled_from(["frame", "log", "topology", "x", None]),
    st.dictionaries(
        st.sampled_from(
            [
                "time_s",
                "period_s",
                "devices",
                "slices",
                "cells",
                "sensors",
                "stream_names",
                "cell",
                "source",
                "text",
                "topology",
            ]
        ),
        _JSON,
    ),
)
def test_documents_of_any_shape_are_read_or_named(kind, document):
    parse_line(json.dumps({"kind": kind, **document}).encode())
