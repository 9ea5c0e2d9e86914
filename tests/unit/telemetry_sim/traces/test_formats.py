"""Values and refusals of the formats that have no recording of their own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from telemetry_sim.errors import TraceUnreadable
from telemetry_sim.traces import open_trace
from telemetry_sim.traces.explora import tell_profile

if TYPE_CHECKING:
    from pathlib import Path

IRISH_HEADER = "Timestamp,RAWCELLID,RSRP,SNR,CQI,DL_bitrate,State\n"


def test_irish_logs_keep_the_last_row_of_a_second_and_mark_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    rows = "2031.01.16_10.00.00,1,-99,9,14,1000,D\n2031.01.16_10.00.00,1,-98,8,13,2000,D\n"
    file.write_text(IRISH_HEADER + rows + "2031.01.16_10.00.01,1,-,-,-,500,D\n")
    trace = open_trace(file)
    first, second = trace.frames()
    assert first.devices.served_bits.tolist() == [2e6]
    assert (first.devices.rsrp_dbm[0], first.devices.sinr_db[0], first.devices.cqi[0]) == (-98, 8, 13)
    assert np.isnan(second.devices.rsrp_dbm[0])
    assert trace.summary.quarantined == {"duplicate": 1}
    assert trace.summary.notes["missing_values"] == 3


def test_kpm_units_are_converted(tmp_path: Path) -> None:
    file = tmp_path / "kpm.txt"
    file.write_text(
        "1 KPM ind_msg latency = 8 [us]\nUE ID type = gNB, amf_ue_ngap_id = 7\nDRB.PdcpSduVolumeDL = 500 [kb]\n"
        "DRB.RlcSduDelayDl = 2500.0 [us]\nRRU.PrbTotDl = 4000 [PRBs]\n"
        "UE ID type = gNB-DU, gnb_cu_ue_f1ap = 9\nDRB.UEThpDl = 80.0 [kbps]\nRRU.PrbTotDl = 50 [%]\n"
    )
    (frame,) = open_trace(file).frames()
    assert frame.devices.device_id.tolist() == [7, 9]
    assert frame.devices.served_bits.tolist() == [5e5, 8e4]
    assert frame.devices.delay_ms[0] == 2.5
    assert frame.devices.prb.tolist() == [2.0, 136.5]


def test_a_mapping_gives_any_csv_its_meaning(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("ms,who,app,kbps\n500,x,urllc_1,10\n1000,x,urllc_1,20\n1000,y,backup,30\n")
    mapping = {"time_s": "ms*0.001", "device_id": "who", "slice": "app", "served_bits": "kbps*500"}
    trace = open_trace(file, columns=mapping)
    assert [p.name for p in trace.topology.slices] == ["slice-0", "urllc"]
    assert [p.delay_budget_ms for p in trace.topology.slices] == [300.0, 10.0]
    first, second = trace.frames()
    assert (first.time_s, second.time_s, first.period_s) == (0.5, 1.0, 0.5)
    assert second.devices.served_bits.tolist() == [10_000.0, 15_000.0]


def _kbps(file: Path, reports: list[tuple[float, str, float]]) -> float:
    """What the frames of a CSV of (time_s, device, bits) say was served, over the time that they cover."""
    rows = [f"{time_s:.6f},{device},{bits}" for time_s, device, bits in reports]
    file.write_text("\n".join(["time_s,device_id,served_bits", *rows]) + "\n")
    trace = open_trace(file)
    frames = list(trace.frames())
    assert trace.summary.num_frames == len(frames)
    assert all(np.diff([frame.time_s for frame in frames]) > 0)
    served = sum(float(frame.devices.served_bits.sum()) for frame in frames)
    assert served == pytest.approx(sum(bits for _, _, bits in reports))
    return served / sum(frame.period_s for frame in frames) / 1000.0


@pytest.mark.parametrize("jitter_s", [0.0, 0.01])
@pytest.mark.parametrize("phases_s", [(0.0, 0.1), (0.0, 0.5), (0.05, 0.3, 0.35, 0.9), (0.0,), (0.0, 0.0)])
def test_devices_of_a_csv_may_report_at_moments_of_their_own(
    tmp_path: Path, phases_s: tuple[float, ...], jitter_s: float
) -> None:
    rng = np.random.default_rng(3)
    reports = [
        (1000.0 + second + phase_s + jitter_s * rng.uniform(-1.0, 1.0), f"ue-{number}", 5000.0)
        for second in range(100)
        for number, phase_s in enumerate(phases_s)
    ]
    assert _kbps(tmp_path / "any.csv", reports) == pytest.approx(5.0 * len(phases_s), rel=0.03)


def test_devices_of_a_csv_may_report_at_paces_of_their_own(tmp_path: Path) -> None:
    paces_s = {"slow": 10.0, "usual": 2.0, "also": 2.0, "quick": 1.0}
    reports = [
        (1000.0 + 0.13 * number + pace_s * step, device, 3000.0 * pace_s)
        for number, (device, pace_s) in enumerate(paces_s.items())
        for step in range(int(200.0 / pace_s))
    ]
    assert _kbps(tmp_path / "any.csv", reports) == pytest.approx(12.0, rel=0.03)


@pytest.mark.parametrize(
    ("mapping", "named"),
    [
        ({"time": "ms"}, "unknown fields"),
        ({"time_s": "seconds"}, "'seconds'"),
        ({"time_s": "ms*zero"}, "factor"),
        ({"time_s": "ms*0"}, "factor"),
        ({"time_s": "ms"}, "needs time_s"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(tmp_path: Path, mapping: dict[str, str], named: str) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("ms,who\n500,x\n")
    with pytest.raises(TraceUnreadable, match=named.replace("*", r"\*")):
        open_trace(file, columns=mapping)


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("empty.csv", b"", "empty"),
        ("noise.bin", bytes(range(256)), "not recognised"),
        ("letter.csv", b"Dear all,\nthis is no trace\n", "not recognised"),
        ("cut.parquet", b"PAR1" + b"\0" * 100, "cut off"),
        ("1_metrics.csv", b"Timestamp,IMSI\n1,2\n", "not recognised"),
        ("chat.log", b"2031-01-05 10:00:00,100 INFO     hello\n", "not recognised"),
        ("x.log", b"2031-01-05 10:00:00,100 INFO     Received data: '1,2'\n", "no state"),
    ],
)
def test_files_that_are_no_trace_are_refused_by_name(tmp_path: Path, name: str, content: bytes, named: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(TraceUnreadable, match=named) as refusal:
        open_trace(file)
    assert name in str(refusal.value)


def test_missing_paths_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceUnreadable, match="does not exist"):
        open_trace(tmp_path / "nothing")
    with pytest.raises(TraceUnreadable, match="is empty"):
        open_trace(tmp_path)


def test_a_folder_of_recordings_names_them(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.csv").write_text(IRISH_HEADER + "2031.01.16_10.00.00,1,-99,9,14,1000,D\n")
    with pytest.raises(TraceUnreadable, match="name one of them: a, b"):
        open_trace(tmp_path)


def test_invalid_text_and_nul_bytes_cost_only_their_row(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    rows = b"2031.01.16_10.00.00,1,-99,9,14,1000,D\n2031.01.16_10.00.01,1,\xff\xfe,9,14,1000,D\n"
    file.write_bytes(IRISH_HEADER.encode() + rows + b"2031.01.16_10.00.02,1,-\x0099,9,14,1000,D\n" + b"x" * 200_000)
    summary = open_trace(file).summary
    assert (summary.rows_read, summary.rows_accepted) == (4, 1)


@pytest.mark.parametrize(
    ("rates", "profile"),
    [
        ({"embb": [4.1, 4.2]}, "profile_1"),
        ({"embb": [2.1, 2.2]}, "profile_2"),
        ({"mmtc": [0.05]}, "profile_1"),
        ({"urllc": [0.24]}, "profile_2"),
        # eMBB short of PRBs: the other slice tells.
        ({"embb": [2.6], "urllc": [0.11]}, "profile_1"),
    ],
)
def test_the_traffic_profile_follows_the_rates(rates: dict[str, list[float]], profile: str) -> None:
    assert tell_profile(rates) == profile


@pytest.mark.data
def test_tractor_runs_are_read_to_their_last_row(recorded_data: Path) -> None:
    for folder in sorted((recorded_data / "tractor_multi_ue" / "Trial2").iterdir())[::3]:
        lines = sum(len(file.read_text().splitlines()) - 1 for file in folder.glob("*_metrics.csv"))
        trace = open_trace(folder)
        assert trace.summary.rows_read == lines
        assert trace.summary.rows_read == trace.summary.rows_accepted + trace.summary.rows_quarantined
        assert trace.summary.quarantined["earlier_run"] > 0
        assert trace.summary.num_devices == len(list(folder.glob("*_metrics.csv")))
        assert all(end - start < 3600 for start, end in trace.summary.runs_s)


@pytest.mark.data
def test_explora_logs_are_read_with_their_decisions(recorded_data: Path) -> None:
    for file in sorted((recorded_data / "explora_oran_agent").rglob("*.log"))[::6]:
        trace = open_trace(file)
        assert trace.summary.rows_read == trace.summary.rows_accepted + trace.summary.rows_quarantined
        # Only the trailing junk of a message is set aside.
        assert set(trace.summary.quarantined) <= {"junk"}
        assert len(trace.decisions) >= trace.summary.num_frames * 0.95
        assert all(sum(d.slice_prb) + d.unseen_prb == 50 for d in trace.decisions)


@pytest.mark.data
def test_explora_profiles_do_not_trust_the_folder_names(recorded_data: Path) -> None:
    logs = recorded_data / "explora_oran_agent" / "motivation_main-results"
    profiles = {name: open_trace(logs / name).summary.notes["traffic_profile"] for name in ("exp1", "exp2", "exp31")}
    assert profiles == {"exp1": "profile_2", "exp2": "profile_1", "exp31": "profile_1"}


@pytest.mark.data
def test_every_irish_log_is_read(recorded_data: Path) -> None:
    for file in sorted((recorded_data / "irish_5g" / "Download" / "Static").glob("*.csv")):
        summary = open_trace(file).summary
        assert set(summary.quarantined) <= {"duplicate"}
        assert not math.isnan(summary.start_unix_s)
