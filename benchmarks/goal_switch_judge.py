"""What a plan is really worth under a goal: tried in futures of the simulated network that the digest was taken from.

Every plan of one switch is tried under the same chances. It is worth what its cell makes of the new goal, less the
energy at the goal's weight, and what it changes in the other cells, which keep the optimiser's plans and the goals they
had. Shapes: S slices, B delay bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from goal_switch_sites import Site
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

from agent.cell_plan import CellPlan, to_actions
from agent.goal import GoalTerms, PerSlice
from agent.optimiser import plan_cell
from agent.scoring import cell_utility, score_interval
from agent.utility import NOMINAL_W
from telemetry_sim.network import forks
from telemetry_sim.records import DELAY_BIN_EDGES_MS, SliceColumns, Telemetry

DelayCounts = Int64[NDArray[np.int64], "S B"]


def worth_of(
    plans: Sequence[CellPlan], site: Site, terms: GoalTerms, *, num_futures: int
) -> Float64[NDArray[np.float64], " plans"]:
    """Mean worth of each plan over the futures."""
    alone = _alone(site, terms)
    tried = [*plans, plan_cell(site.digest, site.terms), *alone.values()]
    policies = [(*site.others, *to_actions(plan, site.topology, terms)) for plan in tried]
    worth = []
    for seed in range(num_futures):
        futures = forks.what_if(site.network, policies, duration_s=site.interval_s, seed=seed)
        ideal = futures[len(plans) + 1 :]
        owed_bits = np.full(len(terms.weight), np.nan)
        for row, future in zip(alone, ideal, strict=True):
            owed_bits[row] = in_time_bits(future, site, terms)[row]
        kept = _others_worth(futures[len(plans)], site)
        worth.append([_worth(f, site, terms, owed_bits) + _others_worth(f, site) - kept for f in futures[: len(plans)]])
    mean: Float64[NDArray[np.float64], " plans"] = np.mean(worth, axis=0)
    return mean


def in_time_bits(future: Telemetry, site: Site, terms: GoalTerms) -> PerSlice:
    """Bits ([S]) that the cell delivered within the goal's delay budgets, where these are shorter than its own."""
    slices = _slices(future)
    counts = np.sum([part.delay_counts[site.index] for part in slices], axis=0)
    own_budget_ms = np.array([profile.delay_budget_ms for profile in site.topology.slices])
    bits = np.sum([part.in_time_bits[site.index] for part in slices], axis=0)
    kept: PerSlice = bits * part_kept(counts, own_budget_ms, np.minimum(terms.delay_budget_ms, own_budget_ms))
    return kept


def part_kept(counts: DelayCounts, own_budget_ms: PerSlice, budget_ms: PerSlice) -> PerSlice:
    """Part of the packets in time ([S]) that a shorter budget still counts, delays evenly spread within a bin."""
    cumulated = np.concatenate([np.zeros((len(counts), 1)), np.cumsum(counts, axis=1)], axis=1)
    edges_ms = DELAY_BIN_EDGES_MS[: cumulated.shape[1]]
    within, of_all = (
        np.array([np.interp(limit, edges_ms, row) for limit, row in zip(limits, cumulated, strict=True)])
        for limits in (budget_ms, own_budget_ms)
    )
    return np.where(of_all > 0, within / np.maximum(of_all, 1e-9), 1.0)


def power_w(future: Telemetry, index: int, duration_s: float) -> float:
    """Mean power of one cell, its edge node included."""
    cells = [frame.cells for frame in future.frames if frame.cells is not None]
    return float(np.sum([part.energy_j[index] for part in cells])) / duration_s


def _alone(site: Site, terms: GoalTerms) -> dict[int, CellPlan]:
    """By row of a capped slice, the plan that guarantees it the whole cell: nobody owes it more than it then gets."""
    plan = plan_cell(site.digest, terms)
    return {
        int(row): replace(
            plan,
            slices=tuple(replace(part, min_pct=100 * (index == row)) for index, part in enumerate(plan.slices)),
        )
        for row in np.flatnonzero(np.isfinite(terms.ue_rate_cap_mbps))
    }


def _worth(future: Telemetry, site: Site, terms: GoalTerms, owed_bits: PerSlice) -> float:
    """Worth in the plan's own cell, less its energy; NaN is owed to slices without a cap: all that they asked for."""
    score = score_interval(future.frames, site.own_terms)
    offered = np.sum([part.offered_bits[site.index] for part in _slices(future)], axis=0)
    owed = np.where(np.isnan(owed_bits), offered, owed_bits)
    in_time = np.where(owed > 0, np.minimum(in_time_bits(future, site, terms) / np.maximum(owed, 1e-9), 1.0), np.nan)
    spent = terms.energy_weight * min(power_w(future, site.index, site.interval_s) / NOMINAL_W, 1.0)
    return float(cell_utility(in_time, score.tasks_in_time[site.index], terms)) - spent


def _others_worth(future: Telemetry, site: Site) -> float:
    """Sum over the other cells, each under the goals it had."""
    score = score_interval(future.frames, site.own_terms)
    cells = zip(score.in_time, score.tasks_in_time, site.own_terms, strict=True)
    return sum(float(cell_utility(*cell)) for index, cell in enumerate(cells) if index != site.index)


def _slices(future: Telemetry) -> list[SliceColumns]:
    return [frame.slices for frame in future.frames if frame.slices is not None]
