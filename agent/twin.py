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
from agent.utility import CellLoad, cloud_ratio, compute_ratio, expected_load, radio_ratio, slice_worth
from edge_preprocess.digest import EdgeDigest

PerFuture = Float64[NDArray[np.float64], "futures slices"]

_DEVICE_HZ = 1e9
_LEAST_SPREAD = 0.1
"""Relative deviation of demand that is assumed even where the forecast has been perfect."""


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
        load = expected_load(digest, terms, margin=0.0)
        forecast = np.array([max(row.forecast_demand_kbps, 1e-6) for row in digest.slices])
        deviation = np.array([row.forecast_deviation_kbps for row in digest.slices])
        spread = np.clip(deviation / forecast, _LEAST_SPREAD, 1.0)
        rng = np.random.default_rng((self.seed, digest.cell, int(digest.end_s)))
        factor = np.exp(rng.standard_normal((self.num_futures, len(forecast))) * spread - 0.5 * spread**2)
        return replace(load, packets_per_s=load.packets_per_s * factor)


def lend_idle(shares_pct: PerSlice, load_pct: PerFuture) -> PerFuture:
    """What each slice can use ([K, S]) when guarantees that lie idle, and what is not guaranteed, are lent by need."""
    own = np.broadcast_to(shares_pct, load_pct.shape)
    lacking = np.maximum(load_pct - own, 0.0)
    idle = np.maximum(100.0 - np.minimum(own, load_pct).sum(axis=-1, keepdims=True), 0.0)
    part = lacking / np.maximum(lacking.sum(axis=-1, keepdims=True), 1e-9)
    return np.maximum(own, np.minimum(own, load_pct) + part * idle)


def _task_ratio(plan: CellPlan, digest: EdgeDigest, load: CellLoad) -> PerFuture:
    edge = np.array([OFFLOAD_PCT[part.tier][1] for part in plan.slices]) / 100.0
    cloud = np.array([OFFLOAD_PCT[part.tier][2] for part in plan.slices]) / 100.0
    device = 1.0 - edge - cloud
    shares = np.array([float(part.compute_pct) for part in plan.slices])
    at_edge = compute_ratio(load, lend_idle(shares, load.task_load_pct * edge), edge)
    # A device's own processor is taken as 1 GHz: a task is in time when its cycles fit the deadline.
    own_s = np.array([row.task_megacycles for row in digest.slices]) * 1e6 / _DEVICE_HZ
    on_device = (own_s <= load.task_budget_s).astype(float)
    return edge * at_edge + cloud * cloud_ratio(digest, load) + device * on_device
