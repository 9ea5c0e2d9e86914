"""The twin: what a plan would do over several possible next intervals, from the digest alone.

It knows topology, digest and forecast, and draws its futures from its own seed; nothing of the network's hidden state.
Shapes: K futures, S slices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from agent.cell_plan import OFFLOAD_PCT, CellPlan
from agent.goal import GoalTerms, PerSlice
from agent.utility import CellLoad, cloud_ratio, compute_ratio, expected_load, lend_idle, radio_ratio, slice_worth
from edge_preprocess.digest import EdgeDigest

PerFuture = Float64[NDArray[np.float64], "futures slices"]

_DEVICE_HZ = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """How many futures are asked, and from which seed."""

    num_futures: int = 16
    seed: int = 20_241

    def utility(self, plan: CellPlan, digest: EdgeDigest, terms: GoalTerms) -> float:
        """Mean worth of the plan over the futures, at most 1; the same futures for every plan of one digest."""
        load = self._futures(digest, terms)
        shares = np.array([float(part.min_pct) for part in plan.slices])
        in_time = radio_ratio(load, lend_idle(shares, load.load_pct))
        tasks = _task_ratio(plan, digest, load)
        worth = slice_worth(in_time, tasks, np.asarray(load.tasks_per_s > 0, float), terms).sum(axis=-1)
        return float(worth.mean() / terms.weight.sum())

    def expected_in_time(self, plan: CellPlan, digest: EdgeDigest, terms: GoalTerms) -> PerSlice:
        """Mean in-time ratio of each slice over the futures ([S])."""
        load = self._futures(digest, terms)
        shares = np.array([float(part.min_pct) for part in plan.slices])
        mean: PerSlice = radio_ratio(load, lend_idle(shares, load.load_pct)).mean(axis=0)
        return mean

    def _futures(self, digest: EdgeDigest, terms: GoalTerms) -> CellLoad:
        """The expected load with K different demands: log-normal around the forecast."""
        load = expected_load(digest, terms)
        rng = np.random.default_rng((self.seed, digest.cell, int(digest.end_s)))
        factor = np.exp(rng.standard_normal((self.num_futures, len(load.spread))) * load.spread)
        return replace(load, packets_per_s=load.packets_per_s * factor)


def _task_ratio(plan: CellPlan, digest: EdgeDigest, load: CellLoad) -> PerFuture:
    edge = np.array([OFFLOAD_PCT[part.tier][1] for part in plan.slices]) / 100.0
    cloud = np.array([OFFLOAD_PCT[part.tier][2] for part in plan.slices]) / 100.0
    device = 1.0 - edge - cloud
    shares = np.array([float(part.compute_pct) for part in plan.slices])
    at_edge = compute_ratio(load, lend_idle(shares, load.task_load_pct * edge), edge)
    # A device's own processor is taken as 1 GHz: a task is in time when its cycles fit the deadline.
    own_s = np.array([row.task_megacycles for row in digest.slices]) * 1e6 / _DEVICE_HZ
    on_device = (own_s <= load.task_budget_s).astype(float)
    ratio: PerFuture = edge * at_edge + cloud * cloud_ratio(digest, load) + device * on_device
    return ratio
