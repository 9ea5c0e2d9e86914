"""What a run leaves behind: documents, tables and files that say the same."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from agent.comparison import Episode, EpisodeSettings, run_episode
from agent.errors import AgentInputInvalid
from agent.planner import Planner, RawModelPlanner, baseline_planners
from agent.report.document import comparison_document, timings_document
from agent.report.folder import write_report
from agent.report.tables import bench_table, comparison_markdown, comparison_table, sla_markdown, table_rows
from tests.agent_stage import ScriptedModel

SETTINGS = EpisodeSettings(scenario="smart-home", num_intervals=2, num_devices=12)


@cache
def episodes() -> tuple[Episode, ...]:
    formulas = [planner for planner in baseline_planners() if planner.name in {"uniform", "optimiser"}]
    planners: list[Planner] = [RawModelPlanner(model=ScriptedModel("nonsense")), *formulas]
    return tuple(run_episode(SETTINGS, planner, seed) for planner in planners for seed in (7, 8))


def document(*warnings: str) -> dict[str, Any]:
    return comparison_document(SETTINGS, (7, 8), episodes(), warnings)


def drawn(table: Table) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_document_is_plain_json_with_a_row_per_planner() -> None:
    made = document("no model")

    assert json.loads(json.dumps(made)) == json.loads(json.dumps(document("no model")))
    assert [row["planner"] for row in made["planners"]] == ["llm_raw", "uniform", "optimiser"]
    assert made["sources"]["llm_raw/7"] == {"none": len(episodes()[0].decision_log)}
    assert made["warnings"] == ["no model"]
    assert all(list(row["sla"]) == made["slices"] for row in made["planners"])


def test_timings_stand_apart_because_they_differ() -> None:
    timings = timings_document(episodes())

    assert timings.keys() == {f"{name}/{seed}" for name in ("llm_raw", "uniform", "optimiser") for seed in (7, 8)}
    assert all(t["decision_p50_ms"] <= t["decision_p95_ms"] for t in timings.values())
    assert "elapsed_s" not in json.dumps(document())


def test_a_planner_without_a_model_has_dashes_where_a_model_has_shares() -> None:
    rows = {cells[0]: cells for cells in table_rows(document())}

    assert rows["llm_raw"][-3:] == ("0.0", "0.0", "0.0")
    assert rows["uniform"][-3:] == ("–", "–", "–")
    assert rows["optimiser"][2] == "1.000"


def test_a_table_without_the_optimiser_has_no_ratio_to_it() -> None:
    alone = comparison_document(SETTINGS, (7, 8), episodes()[2:4], ())

    assert table_rows(alone)[0][:3] == ("uniform", f"{alone['planners'][0]['utility']:.4f}", "–")


def test_terminal_and_markdown_show_the_same_cells() -> None:
    made = document()
    screen, text = drawn(comparison_table(made)), comparison_markdown(made)

    for cells in table_rows(made):
        assert "| " + " | ".join(cells) + " |" in text
        assert all(cell in screen for cell in cells)
    assert len(text.splitlines()) == 2 + len(made["planners"])


def test_the_sla_table_names_every_slice() -> None:
    made = document()
    lines = sla_markdown(made).splitlines()

    assert lines[0] == "| planner | " + " | ".join(made["slices"]) + " |"
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| llm_raw", "| uniform", "| optimiser"]


def test_a_report_folder_holds_every_decision_and_every_policy(tmp_path: Path) -> None:
    made = document("no model")
    folder = write_report(tmp_path / "deep" / "report", episodes(), made)

    assert json.loads((folder / "summary.json").read_text()) == json.loads(json.dumps(made))
    decisions, policies = lines_of(folder / "decisions.jsonl"), lines_of(folder / "policies.jsonl")
    assert len(decisions) == sum(len(e.decision_log) for e in episodes())
    assert len(policies) == sum(len(e.policies) for e in episodes())
    assert {row["seed"] for row in decisions} == {row["seed"] for row in policies} == {7, 8}
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "> **Warning**: no model" in text
    assert comparison_markdown(made) in text
    assert sla_markdown(made) in text
    for name in ("utility", "sla", "utility_over_time"):
        assert f"({name}.png)" in text
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_a_report_without_warnings_shows_none(tmp_path: Path) -> None:
    folder = write_report(tmp_path, episodes(), document())

    assert "Warning" not in (folder / "report.md").read_text(encoding="utf-8")


def test_a_report_that_can_not_be_written_says_where(tmp_path: Path) -> None:
    (tmp_path / "decisions.jsonl").mkdir()

    with pytest.raises(AgentInputInvalid, match=r"decisions\.jsonl'.*a writable folder was expected"):
        write_report(tmp_path, episodes(), document())


def test_the_bench_table_shows_means_with_their_intervals() -> None:
    row = {
        "utility": {"mean": 0.91234, "low": 0.9, "high": 0.925},
        "difference_to_optimiser": {"mean": -0.0123, "low": -0.02, "high": 0.0},
        "sla": {"mean": 0.8, "low": 0.7, "high": 0.9},
        "energy_kj": {"mean": 12.34, "low": 12.0, "high": 13.0},
        "not_below_best_trivial_pct": 95.0,
        "valid_pct": 99.5,
        "decision_p95_ms": 3.21,
    }
    planners = {"llm_gated": row, "uniform": {**row, "valid_pct": None}}
    shown = drawn(bench_table({"num_episodes": 60, "num_intervals": 20, "planners": planners}))

    assert "60 episodes of 20 intervals" in shown
    for cell in ("llm_gated", "0.9123", "0.9000-0.9250", "-0.0123", "0.800", "12.3", "95", "99.5", "3.2"):
        assert cell in shown
    (uniform,) = (line for line in shown.splitlines() if "uniform" in line)
    assert uniform.split("│")[-3].strip() == "–"


def test_the_worst_delay_is_of_what_was_served() -> None:
    made = document()
    made["planners"][0]["delay_p95_ms"] = {"a": None, "b": 316.0}
    made["planners"][1]["delay_p95_ms"] = {"a": None, "b": None}
    assert [row[6] for row in table_rows(made)][:2] == ["316", "–"]
