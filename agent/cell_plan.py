"""CellPlan: what a planner writes for one cell, before it becomes control actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from agent.goal import GoalTerms
from agent.policy import ReasonCode
from telemetry_sim.actions import CellAction, ControlAction, Scheduler, SliceAction
from telemetry_sim.topology import Topology

REPORT_INTERVALS_S = (1, 2, 5, 10)
POWER_STEPS_DB = (-6, -3, 0, 3)


class Tier(StrEnum):
    """Where a slice's tasks are computed."""

    DEVICE = "device"
    EDGE = "edge"
    CLOUD = "cloud"
    SPLIT = "split"
    """Half at the edge, half in the cloud."""


OFFLOAD_PCT = {Tier.DEVICE: (100, 0, 0), Tier.EDGE: (0, 100, 0), Tier.CLOUD: (0, 0, 100), Tier.SPLIT: (0, 50, 50)}
"""Percent of the tasks at device, edge and cloud."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlicePlan:
    """One slice's part of a cell plan."""

    min_pct: int
    """Guaranteed percent of the cell's PRBs; idle ones are lent."""
    scheduler: Scheduler = Scheduler.PROPORTIONAL_FAIR
    compute_pct: int = 0
    tier: Tier = Tier.EDGE
    report_interval_s: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPlan:
    """One cell's plan, slices in topology order."""

    cell: int
    slices: tuple[SlicePlan, ...]
    tx_power_step_db: int = 0
    reasons: tuple[ReasonCode, ...] = (ReasonCode.STEADY,)

    @property
    def is_within_budget(self) -> bool:
        """Whether PRB and CPU guarantees fit the cell."""
        return sum(s.min_pct for s in self.slices) <= 100 and sum(s.compute_pct for s in self.slices) <= 100


def to_actions(plan: CellPlan, topology: Topology, terms: GoalTerms) -> tuple[ControlAction, ...]:
    """The control actions of one cell; the goal's rate caps ride along."""
    actions: list[ControlAction] = []
    for profile, part, cap in zip(topology.slices, plan.slices, terms.ue_rate_cap_mbps, strict=True):
        device, edge, cloud = OFFLOAD_PCT[part.tier]
        actions.append(
            SliceAction(
                cell=plan.cell,
                slice=profile.id,
                min_pct=part.min_pct,
                scheduler=part.scheduler,
                ue_rate_cap_mbps=float(cap) if np.isfinite(cap) else None,
                compute_pct=part.compute_pct,
                offload_device_pct=device,
                offload_edge_pct=edge,
                offload_cloud_pct=cloud,
                report_interval_s=part.report_interval_s,
            )
        )
    return (*actions, CellAction(cell=plan.cell, tx_power_step_db=plan.tx_power_step_db))


def largest_remainder(weights: Sequence[float], total: int) -> tuple[int, ...]:
    """Integers that sum to `total` and are nearest to the weights' proportions (Hamilton's method)."""
    shares = np.asarray(weights, float)
    if shares.sum() <= 0:
        shares = np.ones_like(shares)
    quotas = shares / shares.sum() * total
    floors = np.floor(quotas).astype(int)
    order = np.argsort(-(quotas - floors), kind="stable")
    floors[order[: total - floors.sum()]] += 1
    return tuple(int(x) for x in floors)
