"""What many plans would lead to in simulated networks: the twin's training data.

In every interval of a run the network is forked, once for each of the expert's candidates and for a few random plans.
Each fork obeys its plan for one interval under the same chances, so that plans differ by nothing else; the run itself
goes on with one of them. A row is one slice of one cell under one plan, described by the digest before it and the
demand that came; rows of one slice that differ in the plan alone stand together.
Shapes: G slices in an interval of a run, P plans tried on each, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from agent.bootstrap import build_loop, build_network, what_if
from agent.cell_plan import CellPlan, largest_remainder, to_actions
from agent.expert import candidates
from agent.goal import GoalTerms, PerSlice
from agent.optimiser import plan_cell
from agent.planner import CellDecision, Decision, Source
from agent.scoring import score_interval
from agent.twin_features import CellFeatures
from agent.utility import Outcome, expected_load
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.actions import ControlAction, Scheduler
from telemetry_sim.records import Telemetry
from telemetry_sim.topology import Topology

Rows = Float64[NDArray[np.float64], "G P F"]
Ratios = Float64[NDArray[np.float64], "P slices"]
OfSlices = Float64[NDArray[np.float64], "slices F"]
Outcomes = Float64[NDArray[np.float64], "G P 3"]
"""In-time ratio, worth of the service and credit of the SLA."""
Futures = Callable[[Sequence[Sequence[ControlAction]], float], tuple[Telemetry, ...]]
"""What each policy would bring over so many seconds."""

_NUM_RANDOM = 3
"""Random plans tried in every interval."""
_LONGEST_HOLD = 4
"""Intervals that one kind is followed at most."""
_FOR_GOOD = 10**6
"""Intervals that outlast every run."""
_STEADY = 0.6
"""Chance that a run goes on with one candidate throughout; else with any of the tried plans, one kind for a while."""
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
    """Features of slices and what came of them."""

    radio: Rows
    packet_outcomes: Outcomes
    tasks: Rows
    task_outcomes: Outcomes


def run_trials(
    runs: Sequence[tuple[str, int]],
    *,
    num_intervals: int = 20,
    num_workers: int = 1,
    on_run: Callable[[], None] = lambda: None,
) -> Trials:
    """The trials of each scenario and seed, in that order, whatever the number of processes."""
    trials_of = partial(_trials, num_intervals=num_intervals)
    found: list[Trials] = []
    if num_workers == 1:
        for run in runs:
            found.append(trials_of(run))
            on_run()
    else:
        with ProcessPoolExecutor(num_workers, mp_context=get_context("spawn")) as pool:
            for trials in pool.map(trials_of, runs):
                found.append(trials)
                on_run()
    return Trials(
        radio=np.concatenate([trials.radio for trials in found]),
        packet_outcomes=np.concatenate([trials.packet_outcomes for trials in found]),
        tasks=np.concatenate([trials.tasks for trials in found]),
        task_outcomes=np.concatenate([trials.task_outcomes for trials in found]),
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


class _Trying:
    """A planner that tries plans in futures of the network it drives, then goes on with one of them."""

    name = "trying"

    def __init__(self, topology: Topology, futures: Futures, rng: np.random.Generator) -> None:
        self._topology = topology
        self._futures = futures
        self._rng = rng
        self._is_steady = rng.random() < _STEADY
        self._left = 0
        self._choice = 0
        self.found: list[tuple[Rows, Outcomes, Rows, Outcomes]] = []

    def decide(
        self, digests: Sequence[EdgeDigest], terms: Sequence[GoalTerms], current: Sequence[CellPlan]
    ) -> Decision:
        del current
        tried = [self._plans(digest, term) for digest, term in zip(digests, terms, strict=True)]
        num_plans = len(tried[0])
        policies = [
            tuple(
                action
                for plans, term in zip(tried, terms, strict=True)
                for action in to_actions(plans[number], self._topology, term)
            )
            for number in range(num_plans)
        ]
        self._note(tried, self._futures(policies, digests[0].end_s - digests[0].start_s), digests, terms)
        chosen = self._choose(num_plans)
        cells = (
            CellDecision(cell=digest.cell, plan=plans[chosen], source=Source.FORMULA)
            for digest, plans in zip(digests, tried, strict=True)
        )
        return Decision(planner=self.name, cells=tuple(cells))

    def _plans(self, digest: EdgeDigest, terms: GoalTerms) -> list[CellPlan]:
        return [
            *candidates(digest, terms),
            *(random_plan(self._rng, digest, terms) for _ in range(_NUM_RANDOM)),
        ]

    def _choose(self, num_plans: int) -> int:
        if self._left == 0:
            num_choices = num_plans - _NUM_RANDOM if self._is_steady else num_plans
            longest = _FOR_GOOD if self._is_steady else int(self._rng.integers(1, _LONGEST_HOLD + 1))
            self._choice, self._left = int(self._rng.integers(num_choices)), longest
        self._left -= 1
        return self._choice

    def _note(
        self,
        tried: Sequence[Sequence[CellPlan]],
        futures: Sequence[Telemetry],
        digests: Sequence[EdgeDigest],
        terms: Sequence[GoalTerms],
    ) -> None:
        """What became of every slice under every plan, beside its features under the demand that really came."""
        scores = [score_interval(future.frames, terms) for future in futures]
        demands = [_offered_kbps(future, digests[0].end_s - digests[0].start_s) for future in futures]
        for cell, (plans, digest, term) in enumerate(zip(tried, digests, terms, strict=True)):
            each = [_features(digest, term, came[cell], plan) for plan, came in zip(plans, demands, strict=True)]
            radio, tasks = (np.stack(of_plans) for of_plans in zip(*each, strict=True))
            in_time = np.stack([score.in_time[cell] for score in scores])
            tasks_in_time = np.stack([score.tasks_in_time[cell] for score in scores])
            self.found.append((*_known(radio, in_time, term.target), *_known(tasks, tasks_in_time, term.target)))


def _trials(run: tuple[str, int], *, num_intervals: int) -> Trials:
    scenario, seed = run
    network = build_network(scenario, seed=seed)

    def futures(policies: Sequence[Sequence[ControlAction]], duration_s: float) -> tuple[Telemetry, ...]:
        return what_if(network, policies, duration_s=duration_s)

    trying = _Trying(network.topology, futures, np.random.default_rng((seed, 7)))
    loop = build_loop(network, trying)
    for _ in range(num_intervals - 1):
        loop.turn()
    columns = zip(*trying.found, strict=True)
    # Cells without tasks, in which none were foreseen, have no columns for them either.
    radio, packets, tasks, task_outcomes = (np.concatenate([part for part in c if len(part)]) for c in columns)
    return Trials(radio=radio, packet_outcomes=packets, tasks=tasks, task_outcomes=task_outcomes)


def _offered_kbps(future: Telemetry, duration_s: float) -> Float64[NDArray[np.float64], "cells slices"]:
    frames = [frame.slices for frame in future.frames if frame.slices is not None]
    offered: Float64[NDArray[np.float64], "cells slices"] = np.sum([found.offered_bits for found in frames], axis=0)
    return offered / 1000.0 / duration_s


def _features(digest: EdgeDigest, terms: GoalTerms, demand_kbps: PerSlice, plan: CellPlan) -> tuple[OfSlices, OfSlices]:
    """Of radio and tasks, under the demand that really came."""
    packet_kbit = np.array([row.packet_size_bits for row in digest.slices]) / 1000.0
    demand = demand_kbps / packet_kbit
    cell = CellFeatures(digest, replace(expected_load(digest, terms), packets_per_s=demand[None, :]), terms.target)
    radio = cell.radio((plan,))
    tasks = cell.tasks((plan,), radio)
    return radio[0, 0], np.zeros((len(plan.slices), 0)) if tasks is None else tasks[0, 0]


def _known(
    features: Float64[NDArray[np.float64], "P slices F"], ratio: Ratios, target: PerSlice
) -> tuple[Rows, Outcomes]:
    """The slices of which something is known under every plan."""
    known = ~np.isnan(ratio).any(axis=0) & (features.shape[-1] > 0)
    came = Outcome.certain(ratio[:, known], target[known])
    outcomes = np.stack((came.in_time, came.service, came.credit), axis=-1)
    return features[:, known].swapaxes(0, 1), outcomes.swapaxes(0, 1)
