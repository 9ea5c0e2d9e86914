"""Telemetry as messages."""

from __future__ import annotations

import io

import numpy as np
import pytest

from telemetry_sim.errors import ScenarioInvalid, TraceUnreadable
from telemetry_sim.mqtt_protocol import cell_of_topic, desired_topic
from telemetry_sim.mqtt_target import parse_broker
from telemetry_sim.mqtt_telemetry import decode_telemetry, encode_telemetry
from telemetry_sim.records import DeviceColumns, LogRecord, Telemetry, TelemetryFrame


def frame(time_s: float) -> TelemetryFrame:
    count = 5
    floats = {
        name: np.arange(count, dtype=float) + time_s
        for name in DeviceColumns.__slots__
        if name not in ("device_id", "cell", "slice")
    }
    devices = DeviceColumns(
        device_id=np.arange(count), cell=np.array([0, 1, 0, 1, 2], np.int16), slice=np.zeros(count, np.int16), **floats
    )
    return TelemetryFrame(time_s=time_s, period_s=1.0, devices=devices)


def test_a_cells_part_comes_back_as_it_was():
    logs = (
        LogRecord(time_s=1.0, cell=1, source="gnb", text="ü\n"),
        LogRecord(time_s=1, cell=0, source="gnb", text="x"),
    )
    telemetry = Telemetry(frames=(frame(1.0), frame(2.0)), logs=logs)
    back = decode_telemetry(encode_telemetry(telemetry, 1))
    assert [f.time_s for f in back.frames] == [1.0, 2.0]
    assert back.frames[0].devices.device_id.tolist() == [1, 3]
    assert back.frames[1].devices.sinr_db.tolist() == [3.0, 5.0]
    assert back.frames[0].slices is None
    assert back.logs == logs[:1]


@pytest.mark.parametrize("payload", [b"", b"PK\x03\x04", b"not a zip", b"\x00" * 1000])
def test_anything_else_is_unreadable(payload):
    with pytest.raises(TraceUnreadable):
        decode_telemetry(payload)


def test_a_message_with_missing_columns_is_unreadable():
    buffer = io.BytesIO()
    np.savez(buffer, times_s=np.ones((1, 2)), logs=np.frombuffer(b"[]", np.uint8))
    with pytest.raises(TraceUnreadable):
        decode_telemetry(buffer.getvalue())


def parts_of(payload: bytes) -> dict[str, np.ndarray]:
    return dict(np.load(io.BytesIO(payload)))


def message(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def test_a_byte_that_flipped_on_the_way_breaks_no_reader():
    payload = encode_telemetry(Telemetry(frames=(frame(1.0),)), 0)
    places = range(0, len(payload), 31)
    num_unreadable = 0
    for place in places:
        flipped = bytearray(payload)
        flipped[place] ^= 0x55
        try:
            decode_telemetry(bytes(flipped))
        except TraceUnreadable:
            num_unreadable += 1
    assert num_unreadable > len(places) / 2


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("0.devices.sinr_db", np.zeros((2, 1))),
        ("0.devices.sinr_db", np.zeros(3)),
        ("0.devices.sinr_db", np.array(["a", "b"])),
        ("0.devices.cell", np.array([0.5, np.nan])),
        ("logs", np.frombuffer(b'[{"time_s":"x","cell":0,"source":"gnb","text":"t"}]', np.uint8)),
        ("logs", np.frombuffer(b"[[", np.uint8)),
    ],
)
def test_columns_of_another_shape_or_kind_are_unreadable(name, column):
    arrays = parts_of(encode_telemetry(Telemetry(frames=(frame(1.0),)), 0))
    with pytest.raises(TraceUnreadable):
        decode_telemetry(message(arrays | {name: column}))


def test_a_message_that_swells_when_unpacked_is_not_unpacked(monkeypatch):
    monkeypatch.setattr("telemetry_sim.mqtt_telemetry._MAX_UNPACKED_BYTES", 1_000_000)
    arrays = parts_of(encode_telemetry(Telemetry(frames=(frame(1.0),)), 0))
    bomb = message(arrays | {"more": np.zeros(1_000_000)})
    assert len(bomb) < 20_000
    with pytest.raises(TraceUnreadable, match="unpacked, at most 1000000"):
        decode_telemetry(bomb)


def test_topics_name_their_cell():
    assert cell_of_topic(desired_topic(65_535)) == 65_535
    for topic in ("", "a/b", "edgewright/v1/cells/x/desired", "edgewright/v1/cells/99999999/desired", "a/b/cells/²/d"):
        assert cell_of_topic(topic) is None


def test_a_broker_is_named_by_host_and_port():
    assert (parse_broker("h:1884").host, parse_broker("h:1884").port, parse_broker("h").port) == ("h", 1884, 1883)
    for text in ("", ":1", "h:0", "h:99999", "h:x"):
        with pytest.raises(ScenarioInvalid, match="HOST:PORT"):
            parse_broker(text)
