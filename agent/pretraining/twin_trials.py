"""What many plans would lead to in simulated networks: the twin's training data.

In every interval of a run the network is forked, once for each of the expert's candidates and for a few random plans.
Each fork obeys its plan for one interval under the same chances, so that plans differ by nothing else; the run itself
goes on with one of them. A cell is described as the twin will see it: by the digest before the interval, under several
demands that the forecast leaves possible.
Shapes: N cells in an interval of a run, P plans tried on each, K futures, S slices, F features, G more of tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial
from multiprocessing import get_context
from typing import Self

import numpy as np
from jaxtyping import Float32, Float64
from numpy.typing import NDArray

from agent.bootstrap import build_loop, build_network, what_if
from agent.cell_plan import CellPlan, largest_remainder, to_actions
from agent.expert import candidates
from agent.goal import GoalTerms
from agent.optimiser import plan_cell
from agent.planner import CellDecision, Decision, Source
from agent.scoring import cell_utility, score_interval
from agent.twin import possible_loads, settled_ratios
from agent.twin_features import CellFeatures
from agent.utility import Outcome, contract_weight
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.actions import ControlAction, Scheduler
from telemetry_sim.records import Telemetry
from telemetry_sim.topology import Topology

Ratios = Float64[NDArray[np.float64], "P S"]
Outcomes = Float64[NDArray[np.float64], "P S 3"]
Futures = Callable[[Sequence[Sequence[ControlAction]], float], tuple[Telemetry, ...]]
"""What each policy would bring over so many seconds."""

_NUM_FUTURES = 4
"""Demands under which a cell is described."""
NUM_RANDOM = 3
"""Random plans tried in every interval, after the candidates."""
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trials:
    """Cells and what came of each plan there; where one has fewer slices than another, the rest weigh nothing."""

    radio: Float32[NDArray[np.float32], "N P K S F"]
    tasks: Float32[NDArray[np.float32], "N P K S G"]
    """The features that tasks have beyond those of radio."""
    settled_packets: Float32[NDArray[np.float32], "N K S"]
    settled_tasks: Float32[NDArray[np.float32], "N K S"]
    """Both as `settled_ratios` tells them."""
    packet_outcomes: Float32[NDArray[np.float32], "N P S 3"]
    task_outcomes: Float32[NDArray[np.float32], "N P S 3"]
    """In-time ratio, worth of the service and credit of the SLA; NaN where nothing was offered."""
    weight: Float32[NDArray[np.float32], "N S"]
    contract: Float32[NDArray[np.float32], "N S"]
    """`contract_weight`."""
    floor: Float32[NDArray[np.float32], "N S"]
    """0 in runs under the sites' own goals, which have none."""
    utility: Float32[NDArray[np.float32], "N P"]
    """What the cell was worth, at most 1."""

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """One after the other, padded to the most slices of any."""
        return cls(
            **{
                part.name: _padded([getattr(trials, part.name) for trials in parts], _PADDING.get(part.name, 0.0))
                for part in fields(cls)
            }
        )


_PADDING = {"settled_packets": 1.0, "settled_tasks": 1.0, "packet_outcomes": np.nan, "task_outcomes": np.nan}


def _padded(arrays: Sequence[NDArray[np.float32]], value: float) -> NDArray[np.float32]:
    shape = np.max([array.shape[1:] for array in arrays], axis=0)
    lacking = [[(0, 0), *((0, int(most - has)) for most, has in zip(shape, a.shape[1:], strict=True))] for a in arrays]
    return np.concatenate(
        [np.pad(array, widths, constant_values=value) for array, widths in zip(arrays, lacking, strict=True)]
    )


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
    return Trials.join(found)


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

    def __init__(self, topology: Topology, futures: Futures, seed: int) -> None:
        self._topology = topology
        self._futures = futures
        self._seed = seed
        self._rng = rng = np.random.default_rng((seed, 7))
        self._is_steady = rng.random() < _STEADY
        self._left = 0
        self._choice = 0
        self.found: list[Trials] = []

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
            *(random_plan(self._rng, digest, terms) for _ in range(NUM_RANDOM)),
        ]

    def _choose(self, num_plans: int) -> int:
        if self._left == 0:
            num_choices = num_plans - NUM_RANDOM if self._is_steady else num_plans
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
        """What became of every slice under every plan, beside what the twin would have looked at."""
        scores = [score_interval(future.frames, terms) for future in futures]
        for cell, (plans, digest, term) in enumerate(zip(tried, digests, terms, strict=True)):
            in_time = np.stack([score.in_time[cell] for score in scores])
            tasks_in_time = np.stack([score.tasks_in_time[cell] for score in scores])
            self.found.append(cell_trials(plans, digest, term, in_time, tasks_in_time, self._seed))


def _trials(run: tuple[str, int], *, num_intervals: int) -> Trials:
    scenario, seed = run
    network = build_network(scenario, seed=seed)

    def futures(policies: Sequence[Sequence[ControlAction]], duration_s: float) -> tuple[Telemetry, ...]:
        return what_if(network, policies, duration_s=duration_s)

    trying = _Trying(network.topology, futures, seed)
    loop = build_loop(network, trying)
    for _ in range(num_intervals - 1):
        loop.turn()
    return Trials.join(trying.found)


def cell_trials(
    plans: Sequence[CellPlan],
    digest: EdgeDigest,
    terms: GoalTerms,
    in_time: Ratios,
    tasks_in_time: Ratios,
    seed: int,
) -> Trials:
    """One cell in one interval (N = 1), given what each plan led to there (NaN where nothing was offered)."""
    load = possible_loads(digest, terms, num_futures=_NUM_FUTURES, seed=seed)
    features = CellFeatures(digest, load, terms.target)
    radio = features.radio(plans)
    tasks = features.tasks(plans, radio)
    settled_packets, settled_tasks = settled_ratios(load)
    columns = {
        "radio": radio,
        "tasks": radio[..., :0] if tasks is None else tasks[..., radio.shape[-1] :],
        "settled_packets": settled_packets,
        "settled_tasks": settled_tasks,
        "packet_outcomes": _outcomes(in_time, terms),
        "task_outcomes": _outcomes(tasks_in_time, terms),
        "weight": terms.weight,
        "contract": contract_weight(terms.weight),
        "floor": terms.floor,
        "utility": cell_utility(in_time, tasks_in_time, terms),
    }
    return Trials(**{name: column[None].astype(np.float32) for name, column in columns.items()})


def _outcomes(ratio: Ratios, terms: GoalTerms) -> Outcomes:
    came = Outcome.certain(ratio, terms.target)
    return np.stack((came.in_time, came.service, came.credit), axis=-1)
