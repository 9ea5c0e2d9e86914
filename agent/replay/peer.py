"""The recorded controller's decisions beside ours, in its own unit: resource block groups.

Source of the unit: 3GPP TS 36.213, table 7.1.6.1-1 (3 PRBs a group at 50 PRBs, so 17 groups, the last one smaller).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.cell_plan import CellPlan, SlicePlan, largest_remainder
from telemetry_sim.actions import Scheduler
from telemetry_sim.traces import PeerDecision, TraceReader

NUM_GROUPS = 17
_PRB_PER_GROUP = 3
_NUM_PRB = 50

# The policy has no water-filling: it serves good channels first but starves nobody, as proportional fair does.
SCHEDULER_OF = {"rr": Scheduler.ROUND_ROBIN, "wf": Scheduler.PROPORTIONAL_FAIR, "pf": Scheduler.PROPORTIONAL_FAIR}


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How near our decisions lie to the peer's, over all states with a decision of both."""

    num_states: int
    mean_abs_groups: float
    """Per slice."""
    exact_pct: float
    """Slices given the same number of groups."""
    exact_states_pct: float
    """States in which all slices are."""
    within_one_pct: float
    """Slices at most one group apart."""
    scheduler_pct: float
    """Slices with the same scheduler, the peer's water-filling taken as proportional fair."""
    correlation: float | None
    """Pearson's, over all slices and states; None where either side never varies."""
    correlation_per_slice: tuple[float | None, ...]
    """The same for each slice over the states: do both move together?"""


def usable_decisions(trace: TraceReader) -> tuple[PeerDecision, ...]:
    """Those that fit the trace's slices and name known schedulers; a foreign recording may hold others."""
    num_slices = len(trace.topology.slices)
    return tuple(
        one
        for one in trace.decisions
        if len(one.slice_prb) == len(one.schedulers) == num_slices
        and set(one.schedulers) <= set(SCHEDULER_OF)
        and min(one.slice_prb) >= 0
        and sum(one.slice_prb) <= _NUM_PRB
    )


def peer_decision_at(
    decisions: Sequence[PeerDecision], start_s: float, end_s: float
) -> tuple[PeerDecision | None, int]:
    """The first decision in start_s <= time < end_s, and how many there are; decisions ascend in time."""
    first = bisect_left(decisions, start_s, key=lambda d: d.time_s)
    last = bisect_left(decisions, end_s, key=lambda d: d.time_s)
    return (decisions[first] if last > first else None), last - first


def peer_plan(decision: PeerDecision, cell: int) -> CellPlan:
    """The peer's PRBs as percent shares; it has no say in compute, which its network doesn't have."""
    rows = tuple(
        SlicePlan(min_pct=100 * prb // _NUM_PRB, scheduler=SCHEDULER_OF[name])
        for prb, name in zip(decision.slice_prb, decision.schedulers, strict=True)
    )
    return CellPlan(cell=cell, slices=rows)


def peer_groups(decision: PeerDecision) -> tuple[int, ...]:
    """Groups of each slice."""
    return tuple(math.ceil(prb / _PRB_PER_GROUP) for prb in decision.slice_prb)


def groups_of(plan: CellPlan) -> tuple[int, ...]:
    """Our shares in whole groups, rounded to the nearest split of all 17."""
    return largest_remainder([float(part.min_pct) for part in plan.slices], NUM_GROUPS)


def agreement(ours: Sequence[CellPlan], peers: Sequence[PeerDecision]) -> Agreement | None:
    """Figures over pairs of decisions; None without any."""
    if not ours:
        return None
    mine = np.array([groups_of(plan) for plan in ours], dtype=float)
    theirs = np.array([peer_groups(decision) for decision in peers], dtype=float)
    apart = np.abs(mine - theirs)
    same = [
        part.scheduler is SCHEDULER_OF[name]
        for plan, decision in zip(ours, peers, strict=True)
        for part, name in zip(plan.slices, decision.schedulers, strict=True)
    ]
    return Agreement(
        num_states=len(ours),
        mean_abs_groups=float(apart.mean()),
        exact_pct=100.0 * float((apart == 0).mean()),
        exact_states_pct=100.0 * float((apart == 0).all(axis=1).mean()),
        within_one_pct=100.0 * float((apart <= 1).mean()),
        scheduler_pct=100.0 * float(np.mean(same)),
        correlation=_pearson(mine.ravel(), theirs.ravel()),
        correlation_per_slice=tuple(_pearson(a, b) for a, b in zip(mine.T, theirs.T, strict=True)),
    )


def _pearson(
    left: np.ndarray[tuple[int], np.dtype[np.float64]], right: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> float | None:
    if len(left) < 2 or left.std() == 0 or right.std() == 0:
        return None
    return float(np.corrcoef(left, right)[0, 1])
