"""`edgewright convert` and `edgewright record`."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click import Command
from click.testing import CliRunner

from telemetry_sim.commands import convert, record, simulate
from telemetry_sim.errors import TraceUnreadable
from telemetry_sim.traces import open_trace

RECORDINGS = Path(__file__).resolve().parents[2] / "replay" / "recordings"


@pytest.mark.parametrize("source", ["scope_multi4", "explora", "own.parquet"])
def test_a_converted_recording_holds_what_the_source_held(tmp_path: Path, source: str) -> None:
    target = tmp_path / "copy.parquet"
    result = CliRunner().invoke(convert, [str(RECORDINGS / source), str(target), "--exact", "--json"])
    report = json.loads(result.stdout)
    before, after = open_trace(RECORDINGS / source), open_trace(target)
    assert report["rows_read"] == report["rows_accepted"] + sum(report["quarantined"].values())
    assert after.topology == before.topology
    assert after.decisions == before.decisions
    assert list(after.logs()) == list(before.logs())
    assert list(after.alarms()) == list(before.alarms())
    for old, new in zip(before.frames(), after.frames(), strict=True):
        assert (old.time_s, old.devices.served_bits.tolist()) == (new.time_s, new.devices.served_bits.tolist())


def test_a_plain_csv_is_converted_by_a_mapping(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("t,who,kbps\n1,a,5\n2,a,6\n")
    mapping = '{"time_s": "t", "device_id": "who", "served_bits": "kbps*1000"}'
    result = CliRunner().invoke(convert, [str(tmp_path / "x.csv"), str(tmp_path / "x.parquet"), "--columns", mapping])
    assert result.exit_code == 0
    assert "2 rows in 2 frames" in result.stdout


@pytest.mark.parametrize(
    ("source", "target", "options", "named"),
    [
        ("missing", "x.parquet", [], "does not exist"),
        ("own.parquet", "x.csv", [], "end in .parquet"),
        ("own.parquet", "missing/x.parquet", [], "missing/x.parquet: its folder does not exist"),
        ("own.parquet", "x.parquet", ["--columns", "{"], "not JSON"),
        ("own.parquet", "x.parquet", ["--columns", "[1]"], "JSON object"),
    ],
)
def test_what_cannot_be_converted_is_refused(
    tmp_path: Path, source: str, target: str, options: list[str], named: str
) -> None:
    result = CliRunner().invoke(convert, [str(RECORDINGS / source), str(tmp_path / target), *options])
    assert isinstance(result.exception, TraceUnreadable)
    assert named in str(result.exception)
    assert result.exception.exit_status == 2
    assert not list(tmp_path.iterdir())


def test_a_recording_is_never_replaced_by_itself_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "own.parquet").write_bytes((RECORDINGS / "own.parquet").read_bytes())
    (tmp_path / "hard.parquet").hardlink_to(tmp_path / "own.parquet")
    (tmp_path / "soft.parquet").symlink_to(tmp_path / "own.parquet")
    for target in ("own.parquet", "hard.parquet", "soft.parquet"):
        result = CliRunner().invoke(convert, [str(tmp_path / "own.parquet"), str(tmp_path / target)])
        assert isinstance(result.exception, TraceUnreadable)
        assert "source and target must differ" in str(result.exception)
    assert (tmp_path / "own.parquet").read_bytes() == (RECORDINGS / "own.parquet").read_bytes()


def test_a_recorded_scenario_can_be_lengthened_and_read(tmp_path: Path) -> None:
    file = tmp_path / "run.parquet"
    for duration, options in (("3", []), ("5", ["--resume"])):
        arguments = ["--devices", "60", "--duration", duration, "--out", str(file), "--json", *options]
        result = CliRunner().invoke(record, arguments)
        report = json.loads(result.stdout)
        assert report["frames"] == float(duration)
        assert report["bytes"] == file.stat().st_size
    summary = open_trace(file).summary
    assert (summary.num_frames, summary.notes["scenario"]) == (5, "smart-city")


@pytest.mark.parametrize("duration", ["1e308", "2678401", "0.5"])
@pytest.mark.parametrize("command", [record, simulate])
def test_a_run_of_more_than_a_month_is_refused_with_its_range(tmp_path: Path, command: Command, duration: str) -> None:
    file = tmp_path / "run.parquet"
    result = CliRunner().invoke(command, ["--devices", "4", "--duration", duration, "--out", str(file)])
    assert result.exit_code == 2
    assert "is not in the range 1<=x<=2678400" in result.stderr
    assert not file.exists()
    assert "at most 2,678,400 (31 days)" in " ".join(CliRunner().invoke(command, ["--help"]).stdout.split())


@pytest.mark.parametrize("command", [record, simulate])
def test_a_recording_is_not_lengthened_with_other_devices(tmp_path: Path, command: Command) -> None:
    file = tmp_path / "run.parquet"
    begun = CliRunner().invoke(command, ["--devices", "60", "--duration", "2", "--out", str(file)])
    assert begun.exit_code == 0
    before = file.read_bytes()
    result = CliRunner().invoke(record, ["--devices", "80", "--duration", "4", "--out", str(file), "--resume"])
    assert isinstance(result.exception, TraceUnreadable)
    assert "num_devices (60, not 80)" in str(result.exception)
    assert file.read_bytes() == before


def test_a_recording_needs_the_right_name(tmp_path: Path) -> None:
    result = CliRunner().invoke(record, ["--out", str(tmp_path / "run.csv")])
    assert isinstance(result.exception, TraceUnreadable)


@pytest.mark.parametrize("kind", ["noise", "cut", "empty", "spoilt", "foreign"])
def test_what_is_no_whole_recording_is_not_gone_on_from_and_stays(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "run.parquet"
    begun = ["--devices", "60", "--duration", "2", "--out", str(file)]
    assert CliRunner().invoke(record, begun).exit_code == 0
    whole = file.read_bytes()
    foreign = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), foreign)
    # Past the magic number lies a page of the first column.
    spoilt = whole[:4] + bytes(byte ^ 255 for byte in whole[4:2000]) + whole[2000:]
    content = {
        "noise": b"\x07" * 3000,
        "cut": whole[:-9],
        "empty": b"",
        "spoilt": spoilt,
        "foreign": foreign.getvalue(),
    }
    file.write_bytes(content[kind])
    result = CliRunner().invoke(record, [*begun[:-4], "--duration", "3", "--out", str(file), "--resume"])
    assert isinstance(result.exception, TraceUnreadable)
    assert "\n" not in str(result.exception)
    assert str(file) in str(result.exception)
    assert file.read_bytes() == content[kind]
    assert list(tmp_path.iterdir()) == [file]
