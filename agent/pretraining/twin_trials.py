"""What many kinds of plans led to in simulated networks: the twin's training data.

Each cell holds a plan drawn at random for one to four intervals: the optimiser's, a pool, the even split or random
shares, under the optimiser's schedulers, one for all or any. A row is one slice of one cell in one interval, described
by the digest before it, the plan in force and the demand that came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from agent.bootstrap import build_loop, build_network
from agent.cell_plan import CellPlan, largest_remainder
from agent.goal import GoalTerms
from agent.optimiser import plan_cell
from agent.planner import CellDecision, Decision, Source
from agent.scoring import score_interval
from agent.twin_features import CellFeatures
from agent.utility import expected_load
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.actions import Scheduler

Rows = Float64[NDArray[np.float64], "rows features"]
Ratios = Float64[NDArray[np.float64], " rows"]

_NUM_INTERVALS = 20
_LONGEST_HOLD = 4
_ALIKE, _ANY = 0.75, 0.9
"""Chances, cumulative: one scheduler for all slices, any for each; else the optimiser's."""
_SCHEDULER_ODDS = {
    Scheduler.PROPORTIONAL_FAIR: 0.45,
    Scheduler.EARLIEST_DEADLINE_FIRST: 0.45,
    Scheduler.ROUND_ROBIN: 0.1,
}
_OWN, _POOL, _EVEN = 0.3, 0.6, 0.7
"""Chances, cumulative: the optimiser's shares, none, even ones; else random ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """Features of slices and the ratios that came of them."""

    radio: Rows
    in_time: Ratios
    tasks: Rows
    tasks_in_time: Ratios


def run_trials(
    runs: Sequence[tuple[str, int]], *, num_workers: int = 1, on_run: Callable[[], None] = lambda: None
) -> Trials:
    """The trials of each scenario and seed, in that order, whatever the number of processes."""
    found: list[Trials] = []
    if num_workers == 1:
        for run in runs:
            found.append(_trials(run))
            on_run()
    else:
        with ProcessPoolExecutor(num_workers, mp_context=get_context("spawn")) as pool:
            for trials in pool.map(_trials, runs):
                found.append(trials)
                on_run()
    return Trials(
        radio=np.concatenate([trials.radio for trials in found]),
        in_time=np.concatenate([trials.in_time for trials in found]),
        tasks=np.concatenate([trials.tasks for trials in found]),
        tasks_in_time=np.concatenate([trials.tasks_in_time for trials in found]),
    )


def random_plan(rng: np.random.Generator, digest: EdgeDigest, terms: GoalTerms) -> CellPlan:
    """One of the kinds named above, its compute part the optimiser's."""
    plan = plan_cell(digest, terms)
    num_slices = len(plan.slices)
    shares = np.array([part.min_pct for part in plan.slices])
    kind = rng.random()
    if _OWN <= kind < _POOL:
        shares = np.zeros(num_slices, int)
    elif _POOL <= kind < _EVEN:
        shares = np.array(largest_remainder(np.ones(num_slices).tolist(), 100))
    elif kind >= _EVEN:
        around = shares / 100.0 if rng.random() < 0.6 else np.full(num_slices, 1.0 / num_slices)
        shares = rng.multinomial(100, rng.dirichlet(0.2 + rng.choice((3.0, 10.0, 40.0)) * around))
    which = rng.random()
    schedulers = [part.scheduler for part in plan.slices]
    if which < _ALIKE:
        schedulers = [_random_scheduler(rng)] * num_slices
    elif which < _ANY:
        schedulers = [_random_scheduler(rng) for _ in range(num_slices)]
    rows = tuple(
        replace(part, min_pct=int(share), scheduler=scheduler)
        for part, share, scheduler in zip(plan.slices, shares, schedulers, strict=True)
    )
    return replace(plan, slices=rows)


def _random_scheduler(rng: np.random.Generator) -> Scheduler:
    return list(_SCHEDULER_ODDS)[rng.choice(len(_SCHEDULER_ODDS), p=list(_SCHEDULER_ODDS.values()))]


@dataclass(slots=True)
class _RandomPlanner:
    rng: np.random.Generator
    name: str = "random"
    _held: dict[int, tuple[CellPlan, int]] = field(default_factory=dict)
    """Each cell's plan and for how many intervals more."""

    def decide(
        self, digests: Sequence[EdgeDigest], terms: Sequence[GoalTerms], current: Sequence[CellPlan]
    ) -> Decision:
        del current
        cells = []
        for digest, term in zip(digests, terms, strict=True):
            plan, left = self._held.get(digest.cell, (None, 0))
            if plan is None or left == 0:
                plan, left = random_plan(self.rng, digest, term), int(self.rng.integers(1, _LONGEST_HOLD + 1))
            self._held[digest.cell] = (plan, left - 1)
            cells.append(CellDecision(cell=digest.cell, plan=plan, source=Source.FORMULA))
        return Decision(planner=self.name, cells=tuple(cells))


def _trials(run: tuple[str, int]) -> Trials:
    columns = zip(*_rows(*run), strict=True)
    # Cells without tasks, in which none were foreseen, have no columns for them either.
    radio, in_time, tasks, tasks_in_time = (np.concatenate([part for part in c if len(part)]) for c in columns)
    return Trials(radio=radio, in_time=in_time, tasks=tasks, tasks_in_time=tasks_in_time)


def _rows(scenario: str, seed: int) -> Iterator[tuple[Rows, Ratios, Rows, Ratios]]:
    """Features and ratios of one cell and interval."""
    loop = build_loop(build_network(scenario, seed=seed), _RandomPlanner(np.random.default_rng((seed, 7))))
    before = loop.turn()
    for _ in range(_NUM_INTERVALS - 1):
        now = loop.turn()
        if now is None or before is None:
            return
        score = score_interval(now.telemetry.frames, now.terms)
        for cell, decided in enumerate(before.decision.cells):
            if decided.plan is None:
                continue
            features = _features(before.digests[cell], before.terms[cell], now.digests[cell], decided.plan)
            yield *_known(features[0], score.in_time[cell]), *_known(features[1], score.tasks_in_time[cell])
        before = now


def _features(digest: EdgeDigest, terms: GoalTerms, now: EdgeDigest, plan: CellPlan) -> tuple[Rows, Rows]:
    """Of radio and tasks, under the demand that really came."""
    packet_kbit = np.array([row.packet_size_bits for row in digest.slices]) / 1000.0
    demand = np.array([row.demand_kbps for row in now.slices]) / packet_kbit
    cell = CellFeatures(digest, replace(expected_load(digest, terms), packets_per_s=demand[None, :]))
    radio = cell.radio(plan)
    tasks = cell.tasks(plan, radio)
    return radio[0], np.zeros((len(plan.slices), 0)) if tasks is None else tasks[0]


def _known(features: Rows, ratio: Ratios) -> tuple[Rows, Ratios]:
    known = ~np.isnan(ratio) & (features.shape[1] > 0)
    return features[known], ratio[known]
