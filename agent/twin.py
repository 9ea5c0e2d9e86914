"""The twin: what a plan would do over several possible next intervals, from the digest alone.

It knows topology, digest and forecast, and draws its futures from its own seed; nothing of the network's hidden state.
How often a slice is in time is what two small networks learned from the simulator (`pretraining.twin_fitting`), pools
without guarantees included, which no formula at hand foresees well (adr/0008).
Shapes: K futures, S slices.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from agent.cell_plan import CellPlan
from agent.goal import GoalTerms, PerSlice
from agent.twin_features import CellFeatures, PerFuture, is_pool, shares_of
from agent.twin_model import TwinModel, embedded_twin
from agent.utility import CellLoad, Ratios, expected_load, in_time_fraction, lend_idle, slice_worth
from edge_preprocess.digest import EdgeDigest


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
        mean: PerSlice = self.outlook(digest, terms).in_time(plan)[0].mean(axis=0)
        return mean

    def outlook(self, digest: EdgeDigest, terms: GoalTerms) -> Outlook:
        """One cell's futures, for asking about many plans."""
        return Outlook(self.model, digest, terms, self._futures(digest, terms))

    def _futures(self, digest: EdgeDigest, terms: GoalTerms) -> CellLoad:
        """The expected load with K different demands: log-normal around the forecast."""
        load = expected_load(digest, terms)
        rng = np.random.default_rng((self.seed, digest.cell, int(digest.end_s)))
        factor = np.exp(rng.standard_normal((self.num_futures, len(load.spread))) * load.spread)
        return replace(load, packets_per_s=load.packets_per_s * factor)


class Outlook:
    """The futures of one cell under one goal."""

    def __init__(self, model: TwinModel, digest: EdgeDigest, terms: GoalTerms, load: CellLoad) -> None:
        self._model = model
        self._terms = terms
        self._load = load
        self._features = CellFeatures(digest, load)
        self._own_budget_s = np.array([row.delay_budget_ms for row in digest.slices]) / 1000.0
        self._is_tighter = bool((load.budget_s < self._own_budget_s).any())

    def utility(self, plan: CellPlan) -> float:
        """Mean worth of the plan, at most 1."""
        in_time, tasks = self.in_time(plan)
        has_tasks = np.asarray(self._load.tasks_per_s > 0, float)
        worth = slice_worth(in_time, tasks, has_tasks, self._terms).sum(axis=-1)
        return float(worth.mean() / self._terms.weight.sum())

    def in_time(self, plan: CellPlan) -> tuple[PerFuture, PerFuture]:
        """In-time ratios of packets and of tasks ([K, S] each); 1 where there are none."""
        features = self._features.radio(plan)
        load = self._load
        packets = np.where(load.packets_per_s_full > 0, self._model.radio.ratio(features), 0.0)
        packets = np.where(load.packets_per_s > 0, packets * self._tightened(plan), 1.0)
        of_tasks = self._features.tasks(plan, features)
        if of_tasks is None:
            return packets, np.ones_like(packets)
        return packets, np.where(load.tasks_per_s > 0, self._model.tasks.ratio(of_tasks), 1.0)

    def _tightened(self, plan: CellPlan) -> Ratios:
        """What part of the packets that keep the network's own budgets keep the goal's, which may be shorter."""
        if not self._is_tighter:
            return np.ones(1)
        load = self._load
        own = np.full(len(plan.slices), 100.0 / len(plan.slices)) if is_pool(plan) else shares_of(plan)
        service = load.packets_per_s_full * lend_idle(own, load.load_pct) / 100.0
        kept, whole = (
            in_time_fraction(load.packets_per_s, service, budget) for budget in (load.budget_s, self._own_budget_s)
        )
        part: Ratios = np.minimum(kept / np.maximum(whole, 1e-6), 1.0)
        return part
