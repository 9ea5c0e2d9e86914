"""The classic optimiser: the integer split of each cell for the forecast load.

It is a baseline and the teacher of shares. It sees one cell at a time and one interval ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from agent.cell_plan import OFFLOAD_PCT, CellPlan, SlicePlan, Tier
from agent.goal import GoalTerms, PerSlice
from agent.policy import ReasonCode
from agent.share_split import Held, WorthTable, best_split, refine_lent
from agent.utility import (
    FLOOR_PENALTY,
    TIGHT_S,
    CellLoad,
    Ratios,
    cloud_ratio,
    compute_ratio,
    contract_weight,
    demand_factors,
    expected_load,
    in_time_fraction,
    service_worth,
    sla_credit,
    worthwhile_energy_weight,
)
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.actions import Scheduler

_SHARES = np.arange(101.0)
_TIERS = (Tier.EDGE, Tier.SPLIT, Tier.CLOUD)
_TIER_GAIN = 0.05
"""Leaving the edge node must be worth at least this much: it costs backhaul that the radio traffic shares."""
_TIGHT_MS, _RELAXED_MS = 1000.0 * TIGHT_S, 500.0
"""Delay-critical 5QIs 82-86 and V2X lie below the first, background traffic above the second."""
_ROOMY = 1.5
_CONGESTED_PCT = 85.0
_IDLE_PCT = 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _ComputeSplit:
    worth: float
    shares: tuple[int, ...]
    tiers: tuple[Tier, ...]


def plan_cell(digest: EdgeDigest, terms: GoalTerms) -> CellPlan:
    """The best plan of one cell for its forecast; shares as `share_split` divides them."""
    return complete_plan({}, digest, terms)


def complete_plan(held: Mapping[int, SlicePlan], digest: EdgeDigest, terms: GoalTerms) -> CellPlan:
    """The best plan among those that leave the slices in `held`, by row, as they are."""
    load = expected_load(digest, terms)
    shares = _best_shares(load, terms, {row: part.min_pct for row, part in held.items()})
    compute = _best_compute(digest, load, terms, held)
    total_load = float(load.load_pct.sum())
    rows = tuple(
        held.get(row)
        or SlicePlan(
            min_pct=share,
            scheduler=_scheduler(budget_ms, share, load_pct),
            compute_pct=cpu,
            tier=tier,
            report_interval_s=_report_interval_s(budget_ms, total_load),
        )
        for row, (share, cpu, tier, budget_ms, load_pct) in enumerate(
            zip(shares, compute.shares, compute.tiers, load.budget_s * 1000.0, load.load_pct, strict=True)
        )
    )
    step = _power_step_db(digest, total_load, worthwhile_energy_weight(digest, terms))
    return CellPlan(cell=digest.cell, slices=rows, tx_power_step_db=step, reasons=_reasons(digest, load, terms, step))


def _best_shares(load: CellLoad, terms: GoalTerms, held: Held) -> tuple[int, ...]:
    """PRB shares: the exact hard split, refined for idle guarantees being lent; what nobody needs goes by need."""
    part = np.where(load.tasks_per_s > 0, 0.5, 1.0)
    worth = _hard_worth(load, demand_factors(load.spread), terms).mean(axis=0)
    hard = best_split(part[:, None] * worth, spare_by=load.load_pct * terms.weight, held=held)
    return refine_lent(
        hard,
        arrival_per_s=load.packets_per_s,
        service_per_s=load.packets_per_s_full,
        budget_s=load.budget_s,
        weight=part * terms.weight,
        contract_weight=part * contract_weight(terms.weight),
        floor=terms.floor,
        target=terms.target,
        spread=load.spread,
        held=held,
    )


def _hard_worth(load: CellLoad, factor: Ratios, terms: GoalTerms) -> Ratios:
    """Worth ([5, S, 101]) of each hard share when demand is `factor` ([5, S]) times the forecast."""
    service = load.packets_per_s_full * _SHARES[:, None] / 100.0
    demand = (load.packets_per_s * factor)[:, None]
    ratio = in_time_fraction(demand, service, load.budget_s).swapaxes(1, 2)
    floor = terms.floor[:, None]
    penalty = FLOOR_PENALTY * np.maximum(floor - ratio, 0.0) / np.maximum(floor, 1e-9) * (floor > 0)
    worth: Ratios = _met_worth(ratio, terms) - terms.weight[:, None] * penalty
    return worth


def _met_worth(ratio: Ratios, terms: GoalTerms) -> Ratios:
    """Worth ([..., S, 101]) of those in-time ratios."""
    credit = contract_weight(terms.weight)[:, None] * sla_credit(ratio, terms.target[:, None])
    worth: Ratios = 0.5 * (terms.weight[:, None] * service_worth(ratio) + credit)
    return worth


def _best_compute(digest: EdgeDigest, load: CellLoad, terms: GoalTerms, held: Mapping[int, SlicePlan]) -> _ComputeSplit:
    """The tiers and CPU shares of the greatest worth, by enumerating tiers and splitting CPU exactly for each."""
    computing = [int(row) for row in np.flatnonzero(load.tasks_per_s > 0)]
    num_slices = len(digest.slices)
    best = _ComputeSplit(worth=-np.inf, shares=(0,) * num_slices, tiers=(Tier.EDGE,) * num_slices)
    if not computing:
        return best
    at_cloud = cloud_ratio(digest, load)
    choosable = {*_TIERS, *(part.tier for part in held.values())}
    tables = {tier: _compute_worth(OFFLOAD_PCT[tier][1] / 100.0, load, terms, at_cloud) for tier in choosable}
    most = {tier: table.max(axis=1).tolist() for tier, table in tables.items()}
    settled = {row: part.compute_pct for row, part in held.items()}
    for choice in product(*((held[row].tier,) if row in held else _TIERS for row in computing)):
        tiers = [Tier.EDGE] * num_slices
        for row, tier in zip(computing, choice, strict=True):
            tiers[row] = tier
        # No split gives every slice its best at once, so a choice that would not win even then is not split.
        if sum(most[tier][row] for row, tier in enumerate(tiers)) <= best.worth + _TIER_GAIN:
            continue
        worth = np.stack([tables[tier][row] for row, tier in enumerate(tiers)])
        split = _compute_for(tuple(tiers), worth, load, settled)
        if split.worth > best.worth + _TIER_GAIN:
            best = split
    return best


def _compute_worth(edge_fraction: float, load: CellLoad, terms: GoalTerms, at_cloud: PerSlice) -> WorthTable:
    at_edge = compute_ratio(load, _SHARES[:, None], np.array(edge_fraction)).T
    ratio = edge_fraction * at_edge + (1.0 - edge_fraction) * at_cloud[:, None]
    return 0.5 * _met_worth(ratio, terms) * (load.tasks_per_s > 0)[:, None]


def _compute_for(tiers: tuple[Tier, ...], worth: WorthTable, load: CellLoad, held: Held) -> _ComputeSplit:
    at_edge = load.task_load_pct * [OFFLOAD_PCT[tier][1] / 100.0 for tier in tiers]
    if at_edge.sum() <= 0:
        return _ComputeSplit(worth=float(worth[:, 0].sum()), shares=(0,) * len(tiers), tiers=tiers)
    shares = best_split(worth, spare_by=at_edge, held=held)
    return _ComputeSplit(worth=float(worth[np.arange(len(tiers)), list(shares)].sum()), shares=shares, tiers=tiers)


def _scheduler(budget_ms: float, share_pct: int, load_pct: float) -> Scheduler:
    """Deadlines first where they are tight and can be met: in overload that order makes everybody late."""
    if budget_ms <= _TIGHT_MS and share_pct >= _ROOMY * load_pct:
        return Scheduler.EARLIEST_DEADLINE_FIRST
    return Scheduler.PROPORTIONAL_FAIR if budget_ms <= _RELAXED_MS else Scheduler.ROUND_ROBIN


def _report_interval_s(budget_ms: float, total_load_pct: float) -> int:
    if total_load_pct < _CONGESTED_PCT or budget_ms <= _TIGHT_MS:
        return 1
    return 2 if budget_ms <= _RELAXED_MS else 5


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
