"""What many episodes say: ratios from paired rows, the best known never below a planner, bars held or not."""

from __future__ import annotations

from typing import Any

import pytest

from agent.bench_figures import bench_figures, best_known, best_trivial

NAMES = ("llm_raw", "llm_gated", "uniform", "proportional", "proportional_fair", "edf", "optimiser", "mpc")


def episode(utility: float, *, sla: float = 0.5, decision_ms: float = 10.0, fallback: int = 0) -> dict[str, Any]:
    return {
        "utility": utility,
        "sla": sla,
        "decision_ms": decision_ms,
        "num_dispatched": 10,
        "sources": {"model": 10 - fallback, "fallback": fallback},
    }


@pytest.fixture
def rows() -> dict[str, list[dict[str, Any]]]:
    made = {name: [episode(0.5), episode(0.6)] for name in NAMES}
    made["llm_raw"] = [episode(0.8, sla=0.9), episode(0.59, sla=0.8)]
    made["llm_gated"] = [episode(0.8, fallback=1), episode(0.58)]
    made["edf"] = [episode(0.3), episode(0.6)]
    made["mpc"] = [episode(0.8, decision_ms=400.0), episode(0.6, decision_ms=400.0)]
    return made


def measured(rows: dict[str, list[dict[str, Any]]]) -> dict[str, tuple[float, bool | None]]:
    return {row["figure"]: (row["measured"], row["holds"]) for row in bench_figures(rows)}


def test_the_best_known_is_taken_episode_by_episode(rows: dict[str, list[dict[str, Any]]]) -> None:
    assert best_known(rows).tolist() == [0.8, 0.6]
    assert best_trivial(rows).tolist() == [0.5, 0.6]


def test_each_bar_is_measured_in_paired_episodes(rows: dict[str, list[dict[str, Any]]]) -> None:
    found = measured(rows)
    trivial = "episodes not below the best of uniform, proportional, PF and EDF"
    assert found[f"llm_raw: {trivial}, %"] == (50.0, False)
    assert found[f"llm_gated: {trivial} by more than 0.01, %"] == (50.0, False)
    assert found["llm_raw: SLAs missed, to PF's"] == (pytest.approx(0.15 / 0.5), True)
    assert found["llm_raw: utility, to MPC's"] == (pytest.approx(1.39 / 1.4, abs=1e-4), True)
    assert found["llm_raw: time of a decision, to MPC's"] == (0.025, True)
    assert found["llm_gated: plans that are the fallback's, %"] == (5.0, True)


def test_what_has_no_bar_is_only_told(rows: dict[str, list[dict[str, Any]]]) -> None:
    value, holds = measured(rows)["llm_raw: utility, to the best known with hindsight"]
    assert value == pytest.approx(1.39 / 1.4, abs=1e-4)
    assert holds is None
