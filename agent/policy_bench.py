"""Planners over many episodes, paired by scenario and seed; finished episodes are kept, so a run can be resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from agent.bootstrap import load_model_or_absent
from agent.comparison import EpisodeSettings, run_episode
from agent.corpus_export import refuse_training_seeds
from agent.planner import GatedModelPlanner, Planner, RawModelPlanner, baseline_planners
from telemetry_sim.scenarios import list_scenarios, scenario

_NUM_RESAMPLES = 2000
_BOOTSTRAP_SEED = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """Which episodes are run."""

    cases: tuple[tuple[str, int], ...]
    """Scenario and seed of each episode."""
    num_intervals: int
    num_planners: int = 10

    @classmethod
    def make(cls, *, num_episodes: int, num_intervals: int, scenarios: tuple[str, ...], first_seed: int) -> Self:
        """Episodes dealt over the scenarios in turn; raises ScenarioInvalid for an unknown name.

        Raises AgentInputInvalid where the seeds would reach those of training.
        """
        names = scenarios or tuple(summary.name for summary in list_scenarios())
        for name in names:
            scenario(name)
        cases = tuple((names[i % len(names)], first_seed + i // len(names)) for i in range(num_episodes))
        refuse_training_seeds(cases[-1][1])
        return cls(cases=cases, num_intervals=num_intervals)

    @property
    def num_runs(self) -> int:
        """Episodes times planners."""
        return len(self.cases) * self.num_planners


def run_bench(
    plan: BenchPlan, *, model: str | None, adapter: Path | None, work: Path, on_episode: Callable[[], None]
) -> dict[str, Any]:
    """Run what is missing and summarise everything."""
    loaded, warning = load_model_or_absent(model, adapter=adapter)
    planners: tuple[Planner, ...] = (
        GatedModelPlanner(model=loaded),
        RawModelPlanner(model=loaded),
        *baseline_planners(),
    )
    key = hashlib.sha256(f"{model}|{adapter}|{loaded.name}|{plan.num_intervals}".encode()).hexdigest()[:12]
    store = _EpisodeStore(work / f"episodes-{key}.jsonl")
    rows: dict[str, list[dict[str, Any]]] = {planner.name: [] for planner in planners}
    for name, seed in plan.cases:
        settings = EpisodeSettings(scenario=name, num_intervals=plan.num_intervals)
        for planner in planners:
            rows[planner.name].append(store.get_or_run(settings, planner, seed))
            on_episode()
    return {
        "num_episodes": len(plan.cases),
        "num_intervals": plan.num_intervals,
        "scenarios": sorted({name for name, _ in plan.cases}),
        "warnings": [warning] if warning else [],
        "planners": {name: _summary(found, rows) for name, found in rows.items()},
    }


class _EpisodeStore:
    """Finished episodes as JSON lines, keyed by planner, scenario and seed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, dict[str, Any]] = {}
        if path.exists():
            # A run killed while it wrote leaves half a line; that episode is run again.
            whole, newline, half = path.read_text(encoding="utf-8").rpartition("\n")
            if half:
                path.write_text(whole + newline, encoding="utf-8")
            for line in whole.splitlines():
                row = json.loads(line)
                self._found[row["key"]] = row

    def get_or_run(self, settings: EpisodeSettings, planner: Planner, seed: int) -> dict[str, Any]:
        key = f"{planner.name}/{settings.scenario}/{seed}"
        if key not in self._found:
            episode = run_episode(settings, planner, seed)
            self._found[key] = {
                "key": key,
                "utility": episode.score.utility,
                "sla": episode.score.sla_mean,
                "sla_by_priority": episode.score.sla_by_priority,
                "energy_j": episode.score.energy_j,
                "jain": episode.score.jain,
                "num_valid": episode.num_valid,
                "num_decisions": episode.num_decisions,
                "num_dispatched": episode.num_dispatched,
                "sources": {source.value: count for source, count in episode.sources.items()},
                "decision_p95_ms": 1000.0 * float(np.percentile(episode.decision_s, 95)),
            }
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self._found[key]) + "\n")
        return self._found[key]


def _summary(found: list[dict[str, Any]], rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    utility = np.array([row["utility"] for row in found])
    pools = np.max([[row["utility"] for row in rows[name]] for name in _TRIVIAL], axis=0)
    optimiser = np.array([row["utility"] for row in rows["optimiser"]])
    dispatched = max(sum(row["num_dispatched"] for row in found), 1)
    sources: dict[str, int] = {}
    for row in found:
        for source, count in row["sources"].items():
            sources[source] = sources.get(source, 0) + count
    return {
        "utility": _interval(utility),
        "difference_to_optimiser": _interval(utility - optimiser),
        "not_below_best_trivial_pct": round(100.0 * float(np.mean(utility >= pools - 1e-9)), 2),
        "sla": _interval(np.array([row["sla"] for row in found])),
        "sla_by_priority": _interval(np.array([row["sla_by_priority"] for row in found])),
        "energy_kj": _interval(np.array([row["energy_j"] for row in found]) / 1000.0),
        "jain": _interval(np.array([row["jain"] for row in found])),
        "valid_pct": round(
            100.0 * sum(r["num_valid"] for r in found) / max(sum(r["num_decisions"] for r in found), 1), 2
        ),
        "source_pct": {source: round(100.0 * count / dispatched, 2) for source, count in sources.items() if count},
        "decision_p95_ms": round(float(np.median([row["decision_p95_ms"] for row in found])), 2),
    }


_TRIVIAL = ("uniform", "proportional", "proportional_fair", "edf")


def _interval(values: Float64[NDArray[np.float64], " n"]) -> dict[str, float]:
    """Mean with a bootstrap 95 % interval. Source: Efron 1979, percentile method."""
    rng = np.random.default_rng(_BOOTSTRAP_SEED)
    means = values[rng.integers(0, len(values), (_NUM_RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return {"mean": round(float(values.mean()), 6), "low": round(float(low), 6), "high": round(float(high), 6)}
