"""`edgewright pretrain`, `corpus` and `bench policies` as an operator types them, at their smallest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from agent.commands.bench import bench
from agent.commands.corpus import corpus
from agent.commands.pretrain import pretrain
from agent.errors import AgentInputInvalid, ModelUnavailable
from agent.pretraining.corpus import read_examples
from agent.prompting import Prompt, parse_answer
from tests.replay_stage import tiny_model_folder

TINY = ("policies", "--episodes", "2", "--intervals", "2", "--scenario", "smart-home", "--workers", "1")
UNREACHABLE = "http://127.0.0.1:9/v1"


def typed(command: click.Command, *arguments: str) -> Result:
    result = CliRunner().invoke(command, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def document(command: click.Command, *arguments: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(typed(command, *arguments, "--json").stdout)
    return read


def test_a_dry_run_lists_the_stages_and_writes_nothing(tmp_path: Path) -> None:
    folders = ("--out", str(tmp_path / "out"), "--work", str(tmp_path / "work"))
    plan = document(pretrain, *folders, "--dry-run", "--seed", "9", "--steps", "700")

    assert plan["seed"] == 9
    assert [stage["stage"] for stage in plan["stages"]] == ["synthetic", "own"]
    assert plan["stages"][0]["steps"] == 700
    assert all(stage["expected_cpu_minutes"] > 0 and stage["examples"] > 0 for stage in plan["stages"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("task", ["policy", "operator", "twin"])
def test_a_dry_run_needs_no_folder(task: str) -> None:
    assert document(pretrain, "--task", task, "--dry-run")["seed"] == 5
    ended = CliRunner().invoke(pretrain, ["--task", task])
    assert (ended.exit_code, "Missing option --out" in ended.stderr) == (2, True)


def test_a_quick_dry_run_promises_less_than_a_full_one(tmp_path: Path) -> None:
    folders = ("--out", str(tmp_path / "out"), "--dry-run")
    full, quick = document(pretrain, *folders), document(pretrain, *folders, "--quick")

    for long, short in zip(full["stages"], quick["stages"], strict=True):
        assert short["steps"] < long["steps"]
        assert short["expected_cpu_minutes"] < long["expected_cpu_minutes"]
    shown = typed(pretrain, *folders, "--quick").stdout.splitlines()
    assert [line.split()[0] for line in shown] == ["synthetic", "own"]


def test_a_corpus_per_site_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    sites = ("--scenario", "smart-home", "--scenario", "ehealth", "--devices", "12")
    few = ("--runs", "2", "--intervals", "2", "--variants", "2")
    told = document(corpus, *sites, *few, "--out", str(tmp_path / "first"))
    document(corpus, *sites, *few, "--out", str(tmp_path / "second"))

    assert told["folder"] == str(tmp_path / "first")
    assert sorted(path.name for path in (tmp_path / "first").iterdir()) == ["ehealth.jsonl", "smart-home.jsonl"]
    for site, count in told["rows"].items():
        path = tmp_path / "first" / f"{site}.jsonl"
        rows = read_examples(path)
        assert len(rows) == count > 0
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()
        for row in rows:
            num_slices = row.prompt.count("\nslice=")
            assert parse_answer(row.completion, Prompt(cell=1, text="", num_slices=num_slices)).is_within_budget


def test_rehearsed_rows_follow_a_site_s_own_and_differ_between_sites(tmp_path: Path) -> None:
    sites = ("--scenario", "smart-home", "--scenario", "ehealth", "--devices", "12", "--runs", "1", "--intervals", "2")
    document(corpus, *sites, "--out", str(tmp_path / "plain"))
    document(corpus, *sites, "--rehearsed", "3", "--out", str(tmp_path / "mixed"))

    added = {}
    for site in ("smart-home", "ehealth"):
        plain, mixed = (read_examples(tmp_path / kind / f"{site}.jsonl") for kind in ("plain", "mixed"))
        assert mixed[: len(plain)] == plain
        added[site] = mixed[len(plain) :]
    assert [len(rows) for rows in added.values()] == [3, 3]
    assert not set(added["smart-home"]) & set(added["ehealth"])


def test_a_bench_taken_up_again_runs_only_what_is_missing(tmp_path: Path) -> None:
    where = ("--model", str(tiny_model_folder()), "--work", str(tmp_path / "work"))
    first = document(bench, *TINY, *where)
    (own,) = (tmp_path / "work").glob("episodes-*.jsonl")
    (store,) = (tmp_path / "work").glob("formulas-*.jsonl")
    (searches,) = (tmp_path / "work").glob("searches-*.jsonl")
    lines = store.read_text().splitlines()

    assert first["num_episodes"] == 2
    assert first["warnings"] == []
    assert len(first["planners"]) == 11
    assert (len(own.read_text().splitlines()), len(lines)) == (2 * 2, 2 * 8)
    assert len(searches.read_text().splitlines()) == 2
    assert first["planners"]["optimiser"]["difference_to_optimiser"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    assert [name for name, row in first["planners"].items() if row["valid_pct"] is not None] == ["llm_gated", "llm_raw"]
    best = first["best_known_with_hindsight"]["utility"]["mean"]
    for row in first["planners"].values():
        assert row["utility"]["low"] <= row["utility"]["mean"] <= row["utility"]["high"]
        assert row["utility"]["mean"] <= best + 1e-6

    assert document(bench, *TINY, *where) == first
    assert store.read_text().splitlines() == lines

    # Killed while it wrote the fourteenth episode.
    store.write_text("\n".join([*lines[:13], lines[13][:40]]))
    again = document(bench, *TINY, *where)
    resumed = store.read_text().splitlines()
    assert resumed[:13] == lines[:13]
    assert [without_times(line) for line in resumed] == [without_times(line) for line in lines]
    for name, row in again["planners"].items():
        assert row["utility"] == first["planners"][name]["utility"]
    assert "optimiser" in typed(bench, *TINY, *where).stdout

    store.write_text("\n".join([lines[0], "{}", *lines[2:], ""]))
    with pytest.raises(AgentInputInvalid, match=f"{store.name}', line 2: '{{}}'"):
        typed(bench, *TINY, *where)
    store.write_text("\n".join([*resumed, ""]))

    # Another model is compared with the same formulas, which are not run again.
    document(bench, *TINY, "--model", str(tiny_model_folder(1)), "--work", str(tmp_path / "work"))
    assert len(list((tmp_path / "work").iterdir())) == 4
    assert store.read_text().splitlines() == resumed


@pytest.mark.parametrize("url", [UNREACHABLE, f"{UNREACHABLE}#named"])
def test_an_endpoint_that_is_away_is_warned_of_and_no_stand_in_is_kept_for_it(tmp_path: Path, url: str) -> None:
    where = ("--model", url, "--work", str(tmp_path / "work"))
    result = typed(bench, *TINY, *where, "--json")
    told = json.loads(result.stdout)

    assert told["warnings"]
    assert all(f"WARNING: {warning}" in result.stderr for warning in told["warnings"])
    assert "4 episodes are not kept" in told["warnings"][-1]
    assert told["planners"]["llm_gated"]["source_pct"] == {"fallback": 100.0}
    assert told["planners"]["llm_gated"]["valid_pct"] == 0.0
    # With no model there, the raw planner does nothing and the gated one is the expert.
    figures = {row["figure"].partition(":")[0]: row for row in told["figures"]}
    assert figures["llm_gated"]["measured"] == 100.0
    assert not figures["llm_gated"]["holds"]
    assert list((tmp_path / "work").glob("episodes-*")) == []
    assert len(list((tmp_path / "work").iterdir())) == 2
    assert "WARNING: 4 episodes are not kept" in typed(bench, *TINY, *where).stderr


def test_a_mistyped_model_ends_a_bench_before_it_begins(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="absent"):
        typed(bench, *TINY, "--model", str(tmp_path / "absent"), "--work", str(tmp_path / "work"))
    assert not list((tmp_path / "work").glob("*"))


def test_another_twin_runs_the_search_anew_and_no_formula(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = ("--model", str(tiny_model_folder()), "--work", str(tmp_path / "work"))
    document(bench, *TINY, *where)
    (store,) = (tmp_path / "work").glob("formulas-*.jsonl")
    written = store.stat().st_mtime_ns
    monkeypatch.setattr("agent.policy_bench.EMBEDDED_TWIN", tmp_path / "twin" / "model.safetensors")
    document(bench, *TINY, *where)
    assert len(list((tmp_path / "work").glob("searches-*.jsonl"))) == 2
    assert list((tmp_path / "work").glob("formulas-*.jsonl")) == [store]
    assert store.stat().st_mtime_ns == written


def test_a_bench_in_two_processes_tells_the_same(tmp_path: Path) -> None:
    model = ("--model", str(tiny_model_folder()))
    alone, shared = (
        document(bench, *TINY[:-2], *model, "--work", str(tmp_path / count), "--workers", count) for count in ("1", "2")
    )

    for told in (alone, shared):
        told["figures"] = [row for row in told["figures"] if "time of a decision" not in row["figure"]]
        for row in told["planners"].values():
            del row["decision_p95_ms"]
    assert shared == alone


def without_times(line: str) -> dict[str, Any]:
    return {key: value for key, value in json.loads(line).items() if key not in {"decision_ms", "decision_p95_ms"}}
