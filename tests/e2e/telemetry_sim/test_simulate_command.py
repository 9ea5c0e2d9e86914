from __future__ import annotations

import json
from typing import TYPE_CHECKING

from click.testing import CliRunner

from telemetry_sim.commands import simulate
from telemetry_sim.errors import ScenarioInvalid
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
