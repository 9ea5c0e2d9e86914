"""What every reader of recorded telemetry promises, whatever the format."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from telemetry_sim.records import DeviceColumns
from telemetry_sim.traces import open_trace

if TYPE_CHECKING:
    from telemetry_sim.traces import TraceReader

RECORDINGS = Path(__file__).resolve().parents[2] / "replay" / "recordings"

IRISH = """Timestamp,Longitude,RAWCELLID,RSRP,SNR,CQI,DL_bitrate,State
2031.01.16_10.43.34,-8,100,-99,9.0,14,1000,D
2031.01.16_10.43.34,-8,100,-99,9.0,14,2000,D
2031.01.16_10.43.35,-8,200,-,-,12,3000,D
2031.01.16_10.43.36,-8,200,-90,4.0,12,-,D
2031.01.16_10.43.37,-8,200,-90,4.0,99,4000,D
yesterday,-8,200,-90,4.0,12,4000,D
2031.01.16_10.43.38,-8
"""

KPM = """      1 KPM ind_msg latency = 812 [us]
UE ID type = gNB, amf_ue_ngap_id = 7
DRB.PdcpSduVolumeDL = 500 [kb]
DRB.RlcSduDelayDl = 2500.0 [us]
DRB.UEThpDl = 480.5 [kbps]
RRU.PrbTotDl = 4000 [PRBs]
UE ID type = gNB, amf_ue_ngap_id = 8
DRB.UEThpDl = 100.0 [kbps]
RRU.PrbTotDl = 50 [%]
      2 KPM ind_msg latency = 790 [us]
UE ID type = gNB, amf_ue_ngap_id = 7
DRB.UEThpDl = nan [kbps]
UE ID type = gNB, amf_ue_ngap_id = 8
RRU.PrbTotDl = 50 [%]
"""

GENERIC = """ts,ue,class,kbps,sinr
1000,a,embb,100,12.5
1000,b,urllc,50,-
2000,a,embb,110,13
2000,a,embb,999,13
2000,b,urllc,fast,1
3000,b,urllc,-4,1
"""
GENERIC_COLUMNS = {
    "time_s": "ts*0.001",
    "device_id": "ue",
    "slice": "class",
    "served_bits": "kbps*1000",
    "sinr_db": "sinr",
}


@pytest.fixture(params=["scope", "explora", "parquet", "irish", "kpm", "csv"])
def trace(request: pytest.FixtureRequest, tmp_path: Path) -> TraceReader:
    ready = {"scope": "scope_multi4", "explora": "explora", "parquet": "own.parquet"}
    if request.param in ready:
        return open_trace(RECORDINGS / ready[request.param])
    name, text = {"irish": ("B_log.csv", IRISH), "kpm": ("kpm.txt", KPM), "csv": ("any.csv", GENERIC)}[request.param]
    (tmp_path / name).write_text(text)
    if request.param == "csv":
        (tmp_path / "any.csv.columns.json").write_text(json.dumps(GENERIC_COLUMNS))
    return open_trace(tmp_path / name)


def test_rows_read_are_accepted_or_quarantined(trace: TraceReader) -> None:
    summary = trace.summary
    assert summary.rows_read == summary.rows_accepted + sum(summary.quarantined.values())
    assert summary.rows_accepted > 0


def test_frames_come_in_time_order_and_again_at_every_call(trace: TraceReader) -> None:
    times = [frame.time_s for frame in trace.frames()]
    assert len(times) == trace.summary.num_frames
    assert np.all(np.diff(times) > 0)
    assert times == [frame.time_s for frame in trace.frames()]


def test_rows_name_cells_and_slices_of_the_topology(trace: TraceReader) -> None:
    for frame in trace.frames():
        assert np.all((frame.devices.cell >= 0) & (frame.devices.cell < len(trace.topology.cells)))
        assert np.all((frame.devices.slice >= 0) & (frame.devices.slice < len(trace.topology.slices)))
        assert len(set(frame.devices.device_id.tolist())) == len(frame.devices.device_id)


def test_columns_are_equally_long_and_of_the_agreed_types(trace: TraceReader) -> None:
    for frame in trace.frames():
        for field in fields(DeviceColumns):
            column = getattr(frame.devices, field.name)
            kind = {"device_id": np.int64, "cell": np.int16, "slice": np.int16}.get(field.name, np.float64)
            assert column.dtype == kind
            assert column.shape == frame.devices.device_id.shape


def test_devices_and_runs_are_counted(trace: TraceReader) -> None:
    devices = {int(device) for frame in trace.frames() for device in frame.devices.device_id}
    assert trace.summary.num_devices == len(devices)
    times = [frame.time_s for frame in trace.frames()]
    assert trace.summary.runs_s[0][0] == times[0]
    assert trace.summary.runs_s[-1][1] == times[-1]
