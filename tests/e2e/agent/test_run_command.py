"""`edgewright run` as an operator types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from agent.commands.run import run
from agent.errors import GoalInvalid
from telemetry_sim.errors import ScenarioInvalid


def typed(*arguments: str) -> Result:
    return CliRunner().invoke(run, list(arguments), catch_exceptions=False)


def small(*more: str) -> tuple[str, ...]:
    return ("--scenario", "smart-city", "--seed", "7", "--intervals", "3", "--seeds", "1", "--json", *more)


def document(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0
    read: dict[str, Any] = json.loads(result.stdout)
    return read


def test_equal_runs_give_equal_documents_and_reports(tmp_path: Path) -> None:
    absent = ("--devices", "40", "--model", str(tmp_path / "absent"))
    first = document(typed(*small(*absent, "--out", str(tmp_path / "first"))))
    second = document(typed(*small(*absent, "--out", str(tmp_path / "second"))))

    assert first.pop("timings").keys() == second.pop("timings").keys()
    assert first == second
    for name in ("decisions.jsonl", "policies.jsonl", "summary.json", "report.md"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    for name in ("utility.png", "sla.png", "utility_over_time.png"):
        assert (tmp_path / "first" / name).read_bytes().startswith(b"\x89PNG")


def test_a_run_without_a_model_warns_loudly_and_counts_every_fallback(tmp_path: Path) -> None:
    result = typed(
        *small("--devices", "40", "--no-report", "--model", str(tmp_path / "absent")),
        *("--planner", "llm_gated", "--planner", "llm_raw"),
    )
    shown = document(result)
    rows = {row["planner"]: row for row in shown["planners"]}

    assert "WARNING: model" in result.stderr
    assert shown["warnings"]
    assert rows["llm_gated"]["fallback_pct"] == 100.0
    assert rows["llm_gated"]["own_pct"] == 0.0
    assert rows["llm_gated"]["valid_pct"] == 0.0
    assert shown["sources"]["llm_raw/7"].keys() == {"none"}


def test_a_goal_that_names_an_unknown_slice_is_refused(tmp_path: Path) -> None:
    goal = tmp_path / "goal.json"
    wish = {"metric": "priority", "value": 2.0, "slices": [{"sst": 77}]}
    goal.write_text(json.dumps({"id": "g", "expectations": [wish]}))

    with pytest.raises(GoalInvalid, match="77-ffffff is unknown; slices are"):
        typed(*small("--no-report", "--planner", "uniform", "--goal", str(goal)))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": "g"}'])
def test_a_goal_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    goal = tmp_path / "goal.json"
    goal.write_text(text)

    with pytest.raises(GoalInvalid, match="goal file"):
        typed(*small("--no-report", "--goal", str(goal)))


def test_an_unknown_scenario_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ScenarioInvalid, match="scenarios are smart-city"):
        typed("--scenario", "atlantis", "--planner", "uniform", "--no-report")


def test_progress_without_a_terminal_is_a_line_for_each_episode() -> None:
    result = typed(
        *("--scenario", "smart-city", "--devices", "40", "--intervals", "2", "--seeds", "2", "--no-report"),
        *("--planner", "uniform", "--planner", "optimiser"),
    )

    assert result.exit_code == 0
    shown = [line.split("%", 1)[1].strip() for line in result.stderr.splitlines() if "· seed" in line]
    assert shown == [f"{planner} · seed {seed}" for planner in ("uniform", "optimiser") for seed in (7, 8)]
