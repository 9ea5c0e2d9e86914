from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from click.testing import CliRunner

from telemetry_sim.commands import simulate
from telemetry_sim.errors import ScenarioInvalid, TraceUnreadable
from telemetry_sim.traces import open_trace

if TYPE_CHECKING:
    from pathlib import Path


def test_the_list_shows_the_six_fields() -> None:
    answer = CliRunner().invoke(simulate, ["--list", "--json"])
    assert answer.exit_code == 0
    assert len(json.loads(answer.stdout)["scenarios"]) == 6
    assert "space-air-ground-sea" in CliRunner().invoke(simulate, ["--list"]).stdout


def test_a_run_reports_its_packets_and_its_speed_as_one_document() -> None:
    answer = CliRunner().invoke(simulate, ["--scenario", "ehealth", "--duration", "3", "--json"])
    assert answer.exit_code == 0
    report = json.loads(answer.stdout)
    packets = report["packets"]
    assert packets["offered"] == packets["served"] + packets["dropped"] + packets["waiting"]
    assert report["timings"]["times_real_time"] > 0
    assert report["bytes_per_device"] <= 2000


def test_a_recording_can_be_opened_again(tmp_path: Path) -> None:
    out = tmp_path / "run.parquet"
    answer = CliRunner().invoke(simulate, ["--duration", "3", "--out", str(out), "--json"])
    assert answer.exit_code == 0
    assert json.loads(answer.stdout)["bytes_per_row"] > 0
    assert len(list(open_trace(out).frames())) == 3


def test_an_unknown_scenario_ends_with_the_packages_error() -> None:
    answer = CliRunner().invoke(simulate, ["--scenario", "moon-base"])
    assert isinstance(answer.exception, ScenarioInvalid)


def test_a_reader_who_wants_one_line_of_the_list_breaks_nothing() -> None:
    program = [sys.executable, "-c", "from telemetry_sim.commands import simulate; simulate()", "--list"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"smart-city:")
        process.stdout.close()
        assert process.wait() == 0


def test_cells_can_stand_at_the_places_of_a_file(tmp_path: Path) -> None:
    places = tmp_path / "places.csv"
    places.write_text("Latitude,Longitude\n-37.81,144.96\n-37.81,144.963\n", encoding="utf-8")
    answer = CliRunner().invoke(simulate, ["--positions", str(places), "--duration", "2", "--json"])
    assert answer.exit_code == 0
    assert json.loads(answer.stdout)["cells"] == 2


def test_a_place_that_cannot_be_written_is_answered_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    answer = CliRunner().invoke(simulate, ["--out", str(tmp_path / "file" / "run.parquet")])
    assert isinstance(answer.exception, TraceUnreadable)
    assert "can't be written" in str(answer.exception)


def test_drones_can_carry_the_backhaul() -> None:
    answers = [
        CliRunner().invoke(simulate, ["--scenario", "space-air-ground-sea", "--duration", "2", "--json", *more])
        for more in ([], ["--backhaul", "satellite"], ["--backhaul", "uav"])
    ]
    own, satellite, uav = (json.loads(answer.stdout)["packets"] for answer in answers)
    assert own == satellite
    assert uav["served"] < own["served"]


def test_the_summary_reads_as_text(tmp_path: Path) -> None:
    places = tmp_path / "places.csv"
    places.write_text("Latitude,Longitude\n-37.81,144.96\n", encoding="utf-8")
    given = ["--positions", str(places), "--devices", "4", "--duration", "2"]
    told = CliRunner().invoke(simulate, given).stdout
    assert "4 devices, 1 cell, 2 s" in told
    assert re.search(r"^packets: \d+ offered, \d+ served, \d+ dropped, \d+ waiting$", told, re.MULTILINE)
    assert "times real time" in told
    assert "{" not in told
