"""Planners over many episodes, paired by scenario and seed; finished episodes are kept, so a run can be resumed."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from agent.bench_figures import bench_figures, best_known, best_trivial, share_not_below
from agent.bootstrap import EMBEDDED_WEIGHTS, load_wanted_model
from agent.comparison import EpisodeSettings, run_episode
from agent.corpus_export import refuse_training_seeds
from agent.errors import AgentInputInvalid, ModelUnavailable
from agent.models.port import Answer, PolicyModel
from agent.mpc import TwinSearch
from agent.planner import FormulaPlanner, GatedModelPlanner, Planner, RawModelPlanner, Source, baseline_planners
from agent.twin_model import EMBEDDED_TWIN
from agent.weights_mark import weights_mark
from telemetry_sim.scenarios import list_scenarios, scenario

if TYPE_CHECKING:
    from agent.prompting import Prompt

_NUM_RESAMPLES = 2000
_BOOTSTRAP_SEED = 11
_ROWS = 2
"""Raised where a row gains a field or the network changes: older episodes are then run again."""

_MODEL_PLANNERS = ("llm_gated", "llm_raw")
_SEARCH = "mpc"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """Which episodes are run."""

    cases: tuple[tuple[str, int], ...]
    """Scenario and seed of each episode."""
    num_intervals: int
    num_planners: int = 11

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """One planner on one episode."""

    planner: str
    scenario: str
    seed: int
    num_intervals: int

    @property
    def key(self) -> str:
        return f"{self.planner}/{self.scenario}/{self.seed}"


def run_bench(
    plan: BenchPlan,
    *,
    model: str | None,
    adapter: Path | None,
    work: Path,
    num_workers: int,
    on_episode: Callable[[], None],
    on_warning: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Run what is missing, in `num_workers` processes, and summarise everything; the order of work changes nothing.

    Raises ModelUnavailable where weights that were asked for by name can't be had. An endpoint that is away is stood
    in for, with a warning, and such episodes are not kept.
    """
    loaded, absence = load_wanted_model(model, adapter=adapter)
    warnings = [absence] if absence else []
    for warning in warnings:
        on_warning(warning)
    bench = _Bench.of(loaded)
    names = tuple(bench.planners)
    tasks = [
        _Task(planner=planner, scenario=scenario_name, seed=seed, num_intervals=plan.num_intervals)
        for scenario_name, seed in plan.cases
        for planner in names
    ]
    # Planners without weights are run once, whichever model they are compared with, and so is the search in the twin.
    twin = EMBEDDED_TWIN.parent
    formulas = _EpisodeStore(work / f"formulas-{_mark(plan)}.jsonl")
    searches = _EpisodeStore(work / f"searches-{TwinSearch().num_tries}-{_mark(plan, twin)}.jsonl")
    models = _EpisodeStore(
        work / f"episodes-{_mark(plan, twin, EMBEDDED_WEIGHTS if model is None else model, adapter)}.jsonl"
    )
    stores = dict.fromkeys(names, formulas) | dict.fromkeys(_MODEL_PLANNERS, models) | {_SEARCH: searches}
    missing = [task for task in tasks if task.key not in stores[task.planner].found]
    for _ in range(len(tasks) - len(missing)):
        on_episode()
    num_unanswered = 0
    for done in _run(missing, bench, model, adapter, num_workers):
        stores[done.row["key"].partition("/")[0]].take(done)
        num_unanswered += not done.is_answered
        on_episode()
    if num_unanswered:
        warnings.append(f"{num_unanswered} episodes are not kept: the model did not answer in them; run again")
        on_warning(warnings[-1])
    rows = {name: [stores[name].found[task.key] for task in tasks if task.planner == name] for name in names}
    return {
        "num_episodes": len(plan.cases),
        "num_intervals": plan.num_intervals,
        "scenarios": sorted({name for name, _ in plan.cases}),
        "warnings": warnings,
        "planners": {name: _summary(name, found, rows) for name, found in rows.items()},
        "best_known_with_hindsight": {"utility": _interval(best_known(rows))},
        "figures": bench_figures(rows),
    }


@dataclass(frozen=True, slots=True)
class _Done:
    """A finished episode."""

    row: Row
    is_answered: bool
    """False where a model was asked in vain, so that others decided in its stead."""


@dataclass(slots=True)
class _Heard:
    """A model that counts how often it was asked in vain."""

    model: PolicyModel
    num_unanswered: int = 0

    @property
    def name(self) -> str:
        return self.model.name

    def answer(self, prompts: Sequence[Prompt]) -> tuple[Answer, ...]:
        try:
            return self.model.answer(prompts)
        except ModelUnavailable:
            self.num_unanswered += 1
            raise


@dataclass(frozen=True, slots=True)
class _Bench:
    """All planners of a process, those with a model on the same."""

    planners: dict[str, Planner]
    model: _Heard

    @classmethod
    def of(cls, model: PolicyModel) -> Self:
        heard = _Heard(model)
        return cls(_planners(heard), heard)

    def run(self, task: _Task) -> _Done:
        before = self.model.num_unanswered
        row = _episode_row(task, self.planners[task.planner])
        return _Done(row, is_answered=self.model.num_unanswered == before)


def _run(
    tasks: Sequence[_Task], bench: _Bench, model: str | None, adapter: Path | None, num_workers: int
) -> Iterator[_Done]:
    if num_workers == 1 or len(tasks) < num_workers:
        yield from map(bench.run, tasks)
        return
    # Spawned, not forked: torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, mp_context=context, initializer=_prepare, initargs=(model, adapter)) as pool:
        try:
            for done in as_completed([pool.submit(_run_task, task) for task in tasks]):
                yield done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_WORKER_BENCH: list[_Bench] = []
"""Filled once in each worker process: a model is loaded once, not once an episode."""


def _prepare(model: str | None, adapter: Path | None) -> None:
    _WORKER_BENCH.append(_Bench.of(load_wanted_model(model, adapter=adapter)[0]))


def _run_task(task: _Task) -> _Done:
    return _WORKER_BENCH[0].run(task)


def _planners(model: PolicyModel) -> dict[str, Planner]:
    planners: tuple[Planner, ...] = (
        GatedModelPlanner(model=model),
        RawModelPlanner(model=model),
        *baseline_planners(),
        FormulaPlanner(name=_SEARCH, formula=TwinSearch().plan),
    )
    return {planner.name: planner for planner in planners}


def _episode_row(task: _Task, planner: Planner) -> Row:
    settings = EpisodeSettings(scenario=task.scenario, num_intervals=task.num_intervals)
    episode = run_episode(settings, planner, task.seed)
    return {
        "key": task.key,
        "utility": episode.score.utility,
        "sla": episode.score.sla_mean,
        "sla_by_priority": episode.score.sla_by_priority,
        "energy_j": episode.score.energy_j,
        "jain": episode.score.jain,
        "num_valid": episode.num_valid,
        "num_decisions": episode.num_decisions,
        "num_dispatched": episode.num_dispatched,
        "sources": {source.value: count for source, count in episode.sources.items()},
        "decision_ms": 1000.0 * float(np.mean(episode.decision_s)),
        "decision_p95_ms": 1000.0 * float(np.percentile(episode.decision_s, 95)),
    }


def _mark(plan: BenchPlan, *weights: str | Path | None) -> str:
    """What finished episodes depend on: the weights themselves, not only their folder's name."""
    return hashlib.sha256(f"{_ROWS}|{plan.num_intervals}|{weights_mark(*weights)}".encode()).hexdigest()[:12]


class _EpisodeStore:
    """Finished episodes as JSON lines, keyed by planner, scenario and seed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.found: dict[str, Row] = {}
        if path.exists():
            # A run killed while it wrote leaves half a line; that episode is run again.
            whole, newline, half = path.read_text(encoding="utf-8").rpartition("\n")
            if half:
                path.write_text(whole + newline, encoding="utf-8")
            for number, line in enumerate(whole.splitlines(), start=1):
                try:
                    row = json.loads(line)
                    self.found[row["key"]] = row
                except (ValueError, KeyError, TypeError) as error:
                    raise AgentInputInvalid(
                        f"{str(path)!r}, line {number}: {line[:60]!r}, a finished episode was expected; remove the line"
                    ) from error

    def take(self, done: _Done) -> None:
        """Remember a finished episode, on disk first where it is the planner's own."""
        if done.is_answered:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(done.row) + "\n")
        self.found[done.row["key"]] = done.row


def _summary(name: str, found: list[Row], rows: dict[str, list[Row]]) -> dict[str, Any]:
    utility = np.array([row["utility"] for row in found])
    optimiser = np.array([row["utility"] for row in rows["optimiser"]])
    searched = np.array([row["utility"] for row in rows[_SEARCH]])
    dispatched = max(sum(row["num_dispatched"] for row in found), 1)
    sources: dict[str, int] = {}
    for row in found:
        for source, count in row["sources"].items():
            sources[source] = sources.get(source, 0) + count
    return {
        "utility": _interval(utility),
        "difference_to_optimiser": _interval(utility - optimiser),
        "utility_to_mpc": _interval(utility / np.maximum(searched, 1e-9)),
        "not_below_best_trivial_pct": round(share_not_below(utility, best_trivial(rows)), 2),
        "sla": _interval(np.array([row["sla"] for row in found])),
        "sla_by_priority": _interval(np.array([row["sla_by_priority"] for row in found])),
        "energy_kj": _interval(np.array([row["energy_j"] for row in found]) / 1000.0),
        "jain": _interval(np.array([row["jain"] for row in found])),
        "valid_pct": _valid_pct(found) if name in _MODEL_PLANNERS else None,
        # Of what was dispatched.
        "source_pct": {
            source: round(100.0 * count / dispatched, 2)
            for source, count in sources.items()
            if count and source != Source.NONE
        },
        "decision_p95_ms": round(float(np.median([row["decision_p95_ms"] for row in found])), 2),
    }


def _valid_pct(found: list[Row]) -> float:
    """Of a planner that asks a model for every decision."""
    num_valid, num_asked = (sum(int(row[count]) for row in found) for count in ("num_valid", "num_decisions"))
    return round(100.0 * num_valid / max(num_asked, 1), 2)


def _interval(values: Float64[NDArray[np.float64], " n"]) -> dict[str, float]:
    """Mean with a bootstrap 95 % interval. Source: Efron 1979, percentile method."""
    rng = np.random.default_rng(_BOOTSTRAP_SEED)
    means = values[rng.integers(0, len(values), (_NUM_RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return {"mean": round(float(values.mean()), 6), "low": round(float(low), 6), "high": round(float(high), 6)}
