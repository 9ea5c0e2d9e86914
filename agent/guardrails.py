"""Projection on the feasible set: the nearest plan that fits the budgets and moves no faster than allowed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from agent.cell_plan import POWER_STEPS_DB, REPORT_INTERVALS_S, CellPlan, largest_remainder


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
    if previous is not None and len(previous.slices) == len(plan.slices):
        before = np.array([part.min_pct for part in previous.slices])
        limited = np.clip(mins, before - rails.max_change_pct, before + rails.max_change_pct)
        if (limited != mins).any():
            repairs.append("share_change")
            mins = limited
    mins = _within_budget(mins, "share_budget", repairs)
    cpus = _within_budget(cpus, "compute_budget", repairs)
    step = _nearest(plan.tx_power_step_db, POWER_STEPS_DB)
    if step != plan.tx_power_step_db:
        repairs.append("power_step")
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


def _within_budget(
    shares: np.ndarray[tuple[int, ...], np.dtype[np.int64]], name: str, repairs: list[str]
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    clipped = np.clip(shares, 0, 100)
    if (clipped != shares).any() or clipped.sum() > 100:
        repairs.append(name)
    if clipped.sum() > 100:
        return np.array(largest_remainder(tuple(float(x) for x in clipped), 100))
    return clipped


def _nearest(value: int, allowed: tuple[int, ...]) -> int:
    return min(allowed, key=lambda choice: (abs(choice - value), choice))
