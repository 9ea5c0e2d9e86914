"""`edgewright run` as an operator types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from agent.commands.run import run
from agent.errors import AgentInputInvalid, GoalInvalid, ModelUnavailable
from telemetry_sim.errors import ScenarioInvalid
from tests.replay_stage import tiny_model_folder

UNREACHABLE = "http://127.0.0.1:9/v1"


def typed(*arguments: str) -> Result:
    return CliRunner().invoke(run, list(arguments), catch_exceptions=False)


def small(*more: str) -> tuple[str, ...]:
    return ("--scenario", "smart-city", "--seed", "7", "--intervals", "3", "--seeds", "1", "--json", *more)


def document(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0
    read: dict[str, Any] = json.loads(result.stdout)
    return read


def test_equal_runs_give_equal_documents_and_reports(tmp_path: Path) -> None:
    absent = ("--devices", "40", "--model", UNREACHABLE)
    first = document(typed(*small(*absent, "--out", str(tmp_path / "first"))))
    second = document(typed(*small(*absent, "--out", str(tmp_path / "second"))))

    assert first.pop("timings").keys() == second.pop("timings").keys()
    assert first == second
    for name in ("decisions.jsonl", "policies.jsonl", "summary.json", "report.md"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    for name in ("utility.png", "sla.png", "utility_over_time.png"):
        assert (tmp_path / "first" / name).read_bytes().startswith(b"\x89PNG")


def test_a_run_whose_endpoint_is_away_warns_loudly_and_counts_every_fallback() -> None:
    result = typed(
        *small("--devices", "40", "--no-report", "--model", UNREACHABLE),
        *("--planner", "llm_gated", "--planner", "llm_raw"),
    )
    shown = document(result)
    rows = {row["planner"]: row for row in shown["planners"]}

    assert "WARNING: endpoint" in result.stderr
    assert shown["warnings"]
    assert rows["llm_gated"]["fallback_pct"] == 100.0
    assert rows["llm_gated"]["own_pct"] == 0.0
    assert rows["llm_gated"]["valid_pct"] == 0.0
    assert shown["sources"]["llm_raw/7"].keys() == {"none"}


@pytest.mark.parametrize("wanted", ["absent", "damaged"])
@pytest.mark.parametrize("option", ["--model", "--adapter"])
def test_weights_that_were_asked_for_and_can_not_be_read_end_the_run_before_it_begins(
    tmp_path: Path, option: str, wanted: str
) -> None:
    (tmp_path / "damaged").mkdir()
    for name in ("config.json", "adapter_config.json"):
        (tmp_path / "damaged" / name).write_text("{}")
    model = ("--model", str(tiny_model_folder())) if option == "--adapter" else ()
    out = tmp_path / "report"
    with pytest.raises((ModelUnavailable, AgentInputInvalid)) as refused:
        typed(*small(*model, option, str(tmp_path / wanted), "--out", str(out)))
    assert refused.value.exit_status == 2
    assert wanted in str(refused.value)
    assert not out.exists()


def test_a_name_that_is_nowhere_is_looked_for_on_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("went online"))
    for name in ("nope", "no/body", "n" * 300):
        with pytest.raises(ModelUnavailable, match="no such folder, and no model of that name in the local cache"):
            typed(*small("--no-report", "--model", name))


def test_a_model_that_no_planner_asks_is_not_taken_as_if_one_did(tmp_path: Path) -> None:
    with pytest.raises(AgentInputInvalid, match="optimiser: none of them asks --model"):
        typed(*small("--no-report", "--planner", "optimiser", "--model", str(tmp_path)))


@pytest.mark.parametrize("named", [("llm_gated", "uniform"), ("uniform",)])
def test_on_events_adds_its_row_whichever_planners_are_named(named: tuple[str, ...]) -> None:
    only = [word for name in named for word in ("--planner", name)]
    given = ("--devices", "40", "--no-report", "--model", UNREACHABLE, "--on-events")
    shown = document(typed(*small(*given, *only)))
    assert {row["planner"] for row in shown["planners"]} == {*named, "llm_gated_on_events"}


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
