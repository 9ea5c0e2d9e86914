"""The planners a model must beat: fixed splits, one-line heuristics and unsliced pools.

Each sees the same digest and goal as the model and writes one cell's plan.
"""

from __future__ import annotations

import numpy as np

from agent.cell_plan import CellPlan, SlicePlan, largest_remainder
from agent.goal import GoalTerms, PerSlice
from agent.prompting import needed_share_pct
from agent.utility import expected_load
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.actions import Scheduler


def uniform(digest: EdgeDigest, terms: GoalTerms) -> CellPlan:
    """Equal shares for all slices; the network's initial state, so also what doing nothing means."""
    del terms
    equal = np.ones(len(digest.slices))
    return _plan(digest, equal, equal)


def proportional(digest: EdgeDigest, terms: GoalTerms) -> CellPlan:
    """Shares in proportion to the PRBs and CPU that the forecast demand would occupy."""
    load = expected_load(digest, terms)
    return _plan(digest, load.load_pct, load.task_load_pct)


def weighted_need(digest: EdgeDigest, terms: GoalTerms) -> CellPlan:
    """Shares in proportion to weight times needed PRBs: with static priority the best simple rule over the digest."""
    load = expected_load(digest, terms)
    return _plan(digest, terms.weight * needed_share_pct(load, terms.target), terms.weight * load.task_load_pct)


def static_priority(digest: EdgeDigest, terms: GoalTerms) -> CellPlan:
    """Each slice gets what it needs, weightiest first, until nothing is left."""
    load = expected_load(digest, terms)
    need = needed_share_pct(load, terms.target)
    shares = np.zeros(len(need))
    for row in np.argsort(-terms.weight, kind="stable"):
        shares[row] = min(np.ceil(need[row]), 100.0 - shares.sum())
    shares += (100.0 - shares.sum()) * load.load_pct / max(load.load_pct.sum(), 1e-9)
    return _plan(digest, shares, terms.weight * load.task_load_pct)


def proportional_fair(digest: EdgeDigest, terms: GoalTerms) -> CellPlan:
    """One pool for all devices, scheduled proportional-fair, no slices."""
    del terms
    return _pool(digest, Scheduler.PROPORTIONAL_FAIR)


def earliest_deadline_first(digest: EdgeDigest, terms: GoalTerms) -> CellPlan:
    """One pool for all devices, earliest deadline first, no slices."""
    del terms
    return _pool(digest, Scheduler.EARLIEST_DEADLINE_FIRST)


def _plan(digest: EdgeDigest, radio: PerSlice, compute: PerSlice) -> CellPlan:
    shares = largest_remainder(tuple(radio), 100)
    cpu = largest_remainder(tuple(compute), 100)
    rows = tuple(SlicePlan(min_pct=share, compute_pct=part) for share, part in zip(shares, cpu, strict=True))
    return CellPlan(cell=digest.cell, slices=rows)


def _pool(digest: EdgeDigest, scheduler: Scheduler) -> CellPlan:
    """No guarantees at all: the network then schedules its PRBs as one pool."""
    rows = tuple(SlicePlan(min_pct=0, scheduler=scheduler) for _ in digest.slices)
    return CellPlan(cell=digest.cell, slices=rows)
