"""Telemetry lines: what is written is read again, and nothing crashes the reader."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_preprocess.wire import Unreadable, dump_frame, dump_log, parse_line
from telemetry_sim.records import DeviceColumns, LogRecord, TelemetryFrame

_PATIENT = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
_FLOATS = st.one_of(st.just(float("nan")), st.floats(-1e12, 1e12))


@st.composite
def _frames(draw):
    count = draw(st.integers(0, 5))
    columns = {
        f.name: np.array(draw(st.lists(_FLOATS, min_size=count, max_size=count)), dtype=float)
        for f in fields(DeviceColumns)
        if f.name not in {"device_id", "cell", "slice"}
    }
    ids = np.array(draw(st.lists(st.integers(0, 2**62), min_size=count, max_size=count)), dtype=np.int64)
    places = np.array(draw(st.lists(st.integers(-1, 9), min_size=count, max_size=count)), dtype=np.int16)
    devices = DeviceColumns(device_id=ids, cell=places, slice=places, **columns)
    return TelemetryFrame(time_s=draw(st.floats(0, 1e9)), period_s=1.0, devices=devices)


@_PATIENT
@given(_frames())
def test_a_frame_is_read_as_it_was_written(frame):
    again = parse_line(dump_frame(frame).encode())
    assert isinstance(again, TelemetryFrame)
    assert again.time_s == frame.time_s
    for column in fields(DeviceColumns):
        assert np.array_equal(
            getattr(again.devices, column.name),
            getattr(frame.devices, column.name),
            equal_nan=column.name not in {"device_id", "cell", "slice"},
        )


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
