"""Projection on the feasible set: the nearest plan that fits the budgets and moves no faster than allowed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from agent.cell_plan import POWER_STEPS_DB, REPORT_INTERVALS_S, CellPlan, largest_remainder

Percents = Int64[NDArray[np.int64], " slices"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRails:
    """Bounds that hold whatever a planner says."""

    max_change_pct: int = 100
    """Most points a slice's share may move in one interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """A feasible plan and what had to change."""

    plan: CellPlan
    repairs: tuple[str, ...]


def project(plan: CellPlan, previous: CellPlan | None, rails: GuardRails) -> Projection:
    """The plan itself if it is feasible, otherwise the nearest one: shares scaled to the budget, values clipped."""
    repairs: list[str] = []
    mins = np.array([part.min_pct for part in plan.slices])
    cpus = np.array([part.compute_pct for part in plan.slices])
    least = np.zeros_like(mins)
    if previous is not None and len(previous.slices) == len(plan.slices) and previous.is_within_budget:
        before = np.array([part.min_pct for part in previous.slices])
        least = np.maximum(before - rails.max_change_pct, 0)
        limited = np.clip(mins, least, before + rails.max_change_pct)
        if (limited != mins).any():
            repairs.append("share_change")
            mins = limited
    mins = _within_budget(mins, least, "share_budget", repairs)
    cpus = _within_budget(cpus, np.zeros_like(cpus), "compute_budget", repairs)
    step = _nearest(plan.tx_power_step_db, POWER_STEPS_DB)
    if step != plan.tx_power_step_db:
        repairs.append("power_step")
    if any(part.report_interval_s not in REPORT_INTERVALS_S for part in plan.slices):
        repairs.append("report_interval")
    rows = tuple(
        replace(
            part,
            min_pct=int(share),
            compute_pct=int(cpu),
            report_interval_s=_nearest(part.report_interval_s, REPORT_INTERVALS_S),
        )
        for part, share, cpu in zip(plan.slices, mins, cpus, strict=True)
    )
    return Projection(plan=replace(plan, slices=rows, tx_power_step_db=step), repairs=tuple(repairs))


def _within_budget(shares: Percents, least: Percents, name: str, repairs: list[str]) -> Percents:
    """Shares scaled towards `least`, which fits the budget, until they fit it too."""
    clipped = np.clip(shares, 0, 100)
    if (clipped != shares).any() or clipped.sum() > 100:
        repairs.append(name)
    if clipped.sum() > 100:
        return least + largest_remainder(tuple(float(x) for x in clipped - least), 100 - int(least.sum()))
    return clipped


def _nearest(value: int, allowed: tuple[int, ...]) -> int:
    return min(allowed, key=lambda choice: (abs(choice - value), choice))
