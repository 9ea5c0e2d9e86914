"""The twin: what a plan would do over several possible next intervals, from the digest alone.

It knows topology, digest and forecast, and draws its futures from its own seed; nothing of the network's hidden state.
What becomes of a slice is what two small networks learned from the simulator (`pretraining.twin_fitting`), pools
without guarantees included, which no formula at hand foresees well (adr/0008).
Shapes: P plans, K futures, S slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from agent.cell_plan import CellPlan
from agent.goal import GoalTerms, PerSlice
from agent.twin_features import CellFeatures, is_pool, shares_of
from agent.twin_model import TwinModel, embedded_twin
from agent.utility import CellLoad, Outcome, Ratios, expected_load, in_time_fraction, lend_idle, outcome_worth
from edge_preprocess.digest import EdgeDigest

_LEAST_WORTH = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """How many futures are asked, and from which seed."""

    num_futures: int = 16
    seed: int = 20_241
    model: TwinModel = field(default_factory=embedded_twin)

    def utility(self, plan: CellPlan, digest: EdgeDigest, terms: GoalTerms) -> float:
        """Mean worth of the plan over the futures, at most 1; the same futures for every plan of one digest."""
        return self.outlook(digest, terms).utility(plan)

    def expected_in_time(self, plan: CellPlan, digest: EdgeDigest, terms: GoalTerms) -> PerSlice:
        """Mean in-time ratio of each slice over the futures ([S])."""
        return self.outlook(digest, terms).expected_in_time(plan)

    def outlook(self, digest: EdgeDigest, terms: GoalTerms) -> Outlook:
        """One cell's futures, for asking about many plans."""
        load = possible_loads(digest, terms, num_futures=self.num_futures, seed=self.seed)
        return Outlook(self.model, digest, terms, load)


def possible_loads(digest: EdgeDigest, terms: GoalTerms, *, num_futures: int, seed: int) -> CellLoad:
    """The expected load with K different demands: log-normal around the forecast."""
    load = expected_load(digest, terms)
    rng = np.random.default_rng((seed, digest.cell, int(digest.end_s)))
    factor = np.exp(rng.standard_normal((num_futures, len(load.spread))) * load.spread)
    return replace(load, packets_per_s=load.packets_per_s * factor)


def settled_ratios(load: CellLoad) -> tuple[Ratios, Ratios]:
    """In-time ratios of packets and tasks ([K, S] each) that nobody has to foresee; NaN where they are open.

    All is well where there is nothing to serve, and nothing is served where no PRB carries a bit.
    """
    packets = np.where(load.packets_per_s_full > 0, np.nan, 0.0)
    packets = np.where(load.packets_per_s > 0, packets, 1.0)
    tasks = np.broadcast_to(np.where(load.tasks_per_s > 0, np.nan, 1.0), packets.shape)
    return packets, tasks


class Outlook:
    """The futures of one cell under one goal."""

    def __init__(self, model: TwinModel, digest: EdgeDigest, terms: GoalTerms, load: CellLoad) -> None:
        self._model = model
        self._terms = terms
        self._load = load
        self._features = CellFeatures(digest, load, terms.target)
        self._own_budget_s = np.array([row.delay_budget_ms for row in digest.slices]) / 1000.0
        self._is_tighter = bool((load.budget_s < self._own_budget_s).any())

    def utility(self, plan: CellPlan) -> float:
        """Mean worth of the plan, at most 1."""
        return float(self.utilities((plan,))[0])

    def utilities(self, plans: Sequence[CellPlan]) -> Float64[NDArray[np.float64], " plans"]:
        """Mean worth of each plan, at most 1; many are asked at the price of a few."""
        packets, tasks = self._outcomes(plans)
        has_tasks = np.asarray(self._load.tasks_per_s > 0, float)
        worth = outcome_worth(packets, tasks, has_tasks, self._terms).sum(axis=-1)
        mean: Float64[NDArray[np.float64], " plans"] = worth.mean(axis=-1) / self._terms.weight.sum()
        return mean

    def best(self, plans: Sequence[CellPlan]) -> CellPlan:
        """The plan of most worth, the first of several."""
        return plans[int(self.utilities(plans).argmax())]

    def expected_in_time(self, plan: CellPlan) -> PerSlice:
        """Mean in-time ratio of each slice's packets over the futures ([S])."""
        mean: PerSlice = self._outcomes((plan,))[0].in_time[0].mean(axis=0)
        return mean

    def _outcomes(self, plans: Sequence[CellPlan]) -> tuple[Outcome, Outcome]:
        """What becomes of packets and of tasks ([P, K, S] each)."""
        features = self._features.radio(plans)
        settled_packets, settled_tasks = settled_ratios(self._load)
        packets = _settled(self._tightened(plans, self._model.radio.outcome(features)), settled_packets)
        of_tasks = self._features.tasks(plans, features)
        return packets, _settled(packets if of_tasks is None else self._model.tasks.outcome(of_tasks), settled_tasks)

    def _tightened(self, plans: Sequence[CellPlan], packets: Outcome) -> Outcome:
        """The outcome under the goal's budgets, which may be shorter than those that the network itself keeps."""
        if not self._is_tighter:
            return packets
        load, target = self._load, self._terms.target
        own = np.where(is_pool(plans), 100.0 / len(target), shares_of(plans))
        service = load.packets_per_s_full * lend_idle(own, load.load_pct) / 100.0
        kept, whole = (
            in_time_fraction(load.packets_per_s, service, budget) for budget in (load.budget_s, self._own_budget_s)
        )
        part = np.minimum(kept / np.maximum(whole, 1e-6), 1.0)
        before, after = (Outcome.certain(ratio, target) for ratio in (packets.in_time, packets.in_time * part))
        return Outcome(
            in_time=after.in_time,
            service=packets.service * _ratio(after.service, before.service, otherwise=part),
            credit=packets.credit * _ratio(after.credit, before.credit, otherwise=part),
        )


def _ratio(after: Ratios, before: Ratios, *, otherwise: Ratios) -> Ratios:
    """How much is left; where a certain outcome would have been worth nothing before, an uncertain one still was."""
    return np.where(before > _LEAST_WORTH, after / np.maximum(before, _LEAST_WORTH), otherwise)


def _settled(outcome: Outcome, ratio: Ratios) -> Outcome:
    """The outcome where the ratio is open; elsewhere 0 or 1 of everything, as the ratio says."""
    is_open = np.isnan(ratio)
    return Outcome(
        in_time=np.where(is_open, outcome.in_time, ratio),
        service=np.where(is_open, outcome.service, ratio),
        credit=np.where(is_open, outcome.credit, ratio),
    )
