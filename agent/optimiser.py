"""The classic optimiser: the exact integer split of each cell for the forecast load.

It is baseline, fallback and teacher. It sees one cell at a time and one interval ahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float64
from numba import njit
from numpy.typing import NDArray

from agent.cell_plan import OFFLOAD_PCT, CellPlan, SlicePlan, Tier, largest_remainder
from agent.goal import GoalTerms, PerSlice
from agent.policy import ReasonCode
from agent.utility import (
    FLOOR_PENALTY,
    CellLoad,
    cloud_ratio,
    compute_ratio,
    expected_load,
    radio_ratio,
    satisfaction,
)
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.actions import Scheduler

WorthTable = Float64[NDArray[np.float64], "slices shares"]

_SHARES = np.arange(101.0)
_TIERS = (Tier.EDGE, Tier.SPLIT, Tier.CLOUD)
_WORTH_STEP = 1e-5
"""Worth closer than this is equal, so that labels do not follow rounding noise."""
_TIER_GAIN = 2e-3
"""Leaving the edge node must be worth at least this much."""
_CONGESTED_PCT = 85.0
_IDLE_PCT = 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _ComputeSplit:
    worth: float
    shares: tuple[int, ...]
    tiers: tuple[Tier, ...]


def plan_cell(digest: EdgeDigest, terms: GoalTerms) -> CellPlan:
    """The best plan of one cell for its forecast, exact in PRB and CPU shares."""
    load = expected_load(digest, terms)
    shares = best_split(_radio_worth(load, terms), spare_by=load.load_pct * terms.weight)
    compute = _best_compute(digest, load, terms)
    total_load = float(load.load_pct.sum())
    rows = tuple(
        SlicePlan(
            min_pct=share,
            scheduler=_scheduler(budget_ms),
            compute_pct=cpu,
            tier=tier,
            report_interval_s=_report_interval_s(budget_ms, total_load),
        )
        for share, cpu, tier, budget_ms in zip(
            shares, compute.shares, compute.tiers, load.budget_s * 1000.0, strict=True
        )
    )
    step = _power_step_db(digest, total_load, terms.energy_weight)
    return CellPlan(cell=digest.cell, slices=rows, tx_power_step_db=step, reasons=_reasons(digest, load, terms, step))


def best_split(worth: WorthTable, *, spare_by: PerSlice) -> tuple[int, ...]:
    """The integer shares (sum exactly 100) of the greatest total worth, by dynamic programming over the budget.

    `worth[s, x]` is slice s's worth at x percent. What the optimum leaves unused goes out in proportion to `spare_by`.
    """
    shares = _divide(np.round(worth / _WORTH_STEP))
    budget = 100 - int(shares.sum())
    spare = largest_remainder(tuple(spare_by), budget)
    return tuple(int(share + extra) for share, extra in zip(shares, spare, strict=True))


@njit(cache=True)  # type: ignore[untyped-decorator]  # a plan enumerates up to 3^S divisions
def _divide(steps: WorthTable) -> NDArray[np.int64]:
    """Shares of the greatest sum of `steps[s, share]`; among equals the smallest shares from the last slice on."""
    num_slices, num_shares = steps.shape
    best = np.zeros(num_shares)
    choice = np.zeros((num_slices, num_shares), dtype=np.int64)
    for row in range(num_slices):
        reached = np.empty(num_shares)
        for budget in range(num_shares):
            top, at = best[budget] + steps[row, 0], 0
            for share in range(1, budget + 1):
                total = best[budget - share] + steps[row, share]
                if total > top:
                    top, at = total, share
            reached[budget], choice[row, budget] = top, at
        best = reached
    shares = np.zeros(num_slices, dtype=np.int64)
    budget = num_shares - 1
    for row in range(num_slices - 1, -1, -1):
        shares[row] = choice[row, budget]
        budget -= shares[row]
    return shares


def _radio_worth(load: CellLoad, terms: GoalTerms) -> WorthTable:
    ratio = radio_ratio(load, _SHARES[:, None]).T
    shortfall = np.maximum(terms.floor[:, None] - ratio, 0.0) / np.maximum(terms.floor[:, None], 1e-9)
    penalty = FLOOR_PENALTY * shortfall * (terms.floor[:, None] > 0)
    has_tasks = (load.tasks_per_s > 0)[:, None]
    return terms.weight[:, None] * (satisfaction(ratio) * np.where(has_tasks, 0.5, 1.0) - penalty)


def _best_compute(digest: EdgeDigest, load: CellLoad, terms: GoalTerms) -> _ComputeSplit:
    """The tiers and CPU shares of the greatest worth, by enumerating tiers and splitting CPU exactly for each."""
    computing = np.flatnonzero(load.tasks_per_s > 0)
    num_slices = len(digest.slices)
    best = _ComputeSplit(worth=-np.inf, shares=(0,) * num_slices, tiers=(Tier.EDGE,) * num_slices)
    if not len(computing):
        return best
    at_cloud = cloud_ratio(digest, load)
    tables = {tier: _compute_worth(OFFLOAD_PCT[tier][1] / 100.0, load, terms, at_cloud) for tier in _TIERS}
    for choice in product(_TIERS, repeat=len(computing)):
        tiers = [Tier.EDGE] * num_slices
        for row, tier in zip(computing, choice, strict=True):
            tiers[row] = tier
        split = _compute_for(tuple(tiers), np.stack([tables[tier][row] for row, tier in enumerate(tiers)]), load)
        if split.worth > best.worth + _TIER_GAIN:
            best = split
    return best


def _compute_worth(edge_fraction: float, load: CellLoad, terms: GoalTerms, at_cloud: PerSlice) -> WorthTable:
    at_edge = compute_ratio(load, _SHARES[:, None], np.float64(edge_fraction)).T
    ratio = edge_fraction * at_edge + (1.0 - edge_fraction) * at_cloud[:, None]
    return 0.5 * terms.weight[:, None] * satisfaction(ratio) * (load.tasks_per_s > 0)[:, None]


def _compute_for(tiers: tuple[Tier, ...], worth: WorthTable, load: CellLoad) -> _ComputeSplit:
    at_edge = load.task_load_pct * [OFFLOAD_PCT[tier][1] / 100.0 for tier in tiers]
    if at_edge.sum() <= 0:
        return _ComputeSplit(worth=float(worth[:, 0].sum()), shares=(0,) * len(tiers), tiers=tiers)
    shares = best_split(worth, spare_by=at_edge)
    return _ComputeSplit(worth=float(worth[np.arange(len(tiers)), list(shares)].sum()), shares=shares, tiers=tiers)


def _scheduler(budget_ms: float) -> Scheduler:
    if budget_ms <= 60.0:
        return Scheduler.EARLIEST_DEADLINE_FIRST
    return Scheduler.PROPORTIONAL_FAIR if budget_ms <= 500.0 else Scheduler.ROUND_ROBIN


def _report_interval_s(budget_ms: float, total_load_pct: float) -> int:
    if total_load_pct < _CONGESTED_PCT or budget_ms <= 60.0:
        return 1
    return 2 if budget_ms <= 500.0 else 5


def _power_step_db(digest: EdgeDigest, total_load_pct: float, energy_weight: float) -> int:
    neighbours = [n.prb_utilisation for n in digest.neighbours if n.is_up]
    busiest_pct = 100.0 * max(neighbours, default=0.0)
    if energy_weight > 0 and total_load_pct < _CONGESTED_PCT:
        return -6 if total_load_pct < _IDLE_PCT else -3
    if total_load_pct < _IDLE_PCT and busiest_pct > _CONGESTED_PCT:
        return -3
    return 0


def _reasons(digest: EdgeDigest, load: CellLoad, terms: GoalTerms, step: int) -> tuple[ReasonCode, ...]:
    """At most two codes, the weightiest first."""
    now = np.array([row.demand_kbps for row in digest.slices])
    forecast = np.array([row.forecast_demand_kbps for row in digest.slices])
    total_load = load.load_pct.sum()
    held = {
        ReasonCode.FAULT: not digest.is_up or any(not n.is_up for n in digest.neighbours) or bool(digest.anomalies),
        ReasonCode.GUARANTEE: bool((terms.floor > 0).any()),
        ReasonCode.DEMAND_SURGE: bool((forecast > 1.25 * now + 1.0).any()),
        ReasonCode.CONGESTION: total_load > 100.0,
        ReasonCode.ENERGY: step < 0,
        ReasonCode.SPARE_CAPACITY: total_load < _IDLE_PCT,
    }
    codes = tuple(code for code, holds in held.items() if holds)[:2]
    return codes or (ReasonCode.STEADY,)
