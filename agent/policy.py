"""SchedulingPolicy: a validated decision, that is a rationale plus a tuple of control actions."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from enum import StrEnum
from typing import Annotated, Self

from annotated_types import Ge, Gt, Le, MaxLen
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from agent.errors import PolicyInvalid
from agent.given_bytes import told_bytes
from telemetry_sim.actions import ControlAction, SliceAction
from telemetry_sim.topology import SliceId, Topology


class _Contract(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ReasonCode(StrEnum):
    """Why a policy is what it is; rendered as text for people, never written freely by a model."""

    DEMAND_SURGE = "demand_surge"
    TIGHT_DELAY = "tight_delay"
    GUARANTEE = "guarantee"
    CONGESTION = "congestion"
    SPARE_CAPACITY = "spare_capacity"
    FAULT = "fault"
    ENERGY = "energy"
    GOAL = "goal"
    BACKLOG = "backlog"
    STEADY = "steady"


REASON_WORDS = {
    ReasonCode.DEMAND_SURGE: "demand is surging",
    ReasonCode.TIGHT_DELAY: "delay budgets are tight",
    ReasonCode.GUARANTEE: "slices are owed a guarantee",
    ReasonCode.CONGESTION: "cells are congested",
    ReasonCode.SPARE_CAPACITY: "there is capacity to spare",
    ReasonCode.FAULT: "something is faulty",
    ReasonCode.ENERGY: "energy is to be saved",
    ReasonCode.GOAL: "operators set goals",
    ReasonCode.BACKLOG: "packets have queued up",
    ReasonCode.STEADY: "load and links are steady",
}


class ExpectedKpi(_Contract):
    """What the policy promises for one slice in one cell, so that it can be held to it."""

    cell: Annotated[int, Ge(0), Le(0xFFFF)]
    slice: SliceId
    in_time_ratio: Annotated[float, Ge(0), Le(1)]


class RollbackTrigger(_Contract):
    """When the dispatcher goes back to the parent version by itself."""

    utility_drop: Annotated[float, Gt(0), Le(1)] = 0.1
    """Fall of the cell's utility below the parent's level, beyond noise."""
    num_intervals: Annotated[int, Ge(1), Le(60)] = 2
    """Consecutive intervals of it."""


class SchedulingPolicy(_Contract):
    """One decision for the whole network; unnamed cells and slices keep what they have."""

    version: Annotated[int, Ge(1)]
    parent_version: Annotated[int, Ge(0)]
    """The version it was planned against; 0 is the network's initial state."""
    planner: Annotated[str, MaxLen(32)]
    valid_from_s: Annotated[float, Ge(0)]
    valid_until_s: Annotated[float, Gt(0)]
    actions: Annotated[tuple[ControlAction, ...], MaxLen(100_000)]
    rationale: Annotated[tuple[ReasonCode, ...], MaxLen(16)] = ()
    expected: Annotated[tuple[ExpectedKpi, ...], MaxLen(100_000)] = ()
    rollback: RollbackTrigger = RollbackTrigger()

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if self.valid_until_s <= self.valid_from_s:
            raise ValueError(f"valid_until_s {self.valid_until_s} must lie after valid_from_s {self.valid_from_s}")
        if self.version <= self.parent_version:
            raise ValueError(f"version {self.version} must exceed parent_version {self.parent_version}")
        _refuse_repeats(self.actions)
        _refuse_overcommitment(self.actions)
        return self

    def content_hash(self) -> str:
        """SHA-256 of the canonical JSON; what an approval is bound to."""
        document = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(document.encode()).hexdigest()

    def for_cell(self, cell_id: int) -> tuple[ControlAction, ...]:
        """The actions that one edge node receives."""
        return tuple(action for action in self.actions if action.cell == cell_id)


def parse_policy(document: bytes | str, topology: Topology) -> SchedulingPolicy:
    """Read a policy from JSON and check it against the topology; raises PolicyInvalid."""
    try:
        policy = SchedulingPolicy.model_validate_json(document)
    except ValidationError as error:
        raise PolicyInvalid(describe_faults(error)) from error
    check_against(policy, topology)
    return policy


def check_against(policy: SchedulingPolicy, topology: Topology) -> None:
    """Refuse unknown cells and slices; raises PolicyInvalid."""
    cells = {cell.id for cell in topology.cells}
    slices = {profile.id for profile in topology.slices}
    for action in policy.actions:
        if action.cell not in cells:
            raise PolicyInvalid(f"actions: cell {action.cell} is unknown; cells are {sorted(cells)[:20]}")
        if isinstance(action, SliceAction) and action.slice not in slices:
            raise PolicyInvalid(f"actions: slice {action.slice} is unknown; slices are {sorted(map(str, slices))}")


def _refuse_repeats(actions: tuple[ControlAction, ...]) -> None:
    targets = Counter((a.cell, str(a.slice) if isinstance(a, SliceAction) else "cell") for a in actions)
    repeated = [target for target, count in targets.items() if count > 1]
    if repeated:
        raise ValueError(f"actions: each target once, got several for {repeated[:5]}")


def _refuse_overcommitment(actions: tuple[ControlAction, ...]) -> None:
    for field in ("dedicated_pct", "min_pct", "compute_pct"):
        sums: Counter[int] = Counter()
        for action in actions:
            if isinstance(action, SliceAction):
                sums[action.cell] += getattr(action, field)
        over = {cell: total for cell, total in sums.items() if total > 100}
        if over:
            raise ValueError(f"actions: {field} must sum to at most 100 per cell, got {dict(list(over.items())[:5])}")


def describe_faults(error: ValidationError, *, whole: str = "policy") -> str:
    """The first three faults of a document: where, what, and the value."""
    parts = []
    for fault in error.errors(include_url=False, include_context=False)[:3]:
        where = ".".join(map(str, fault["loc"])) or whole
        given = fault["input"]
        got = told_bytes(given) if isinstance(given, bytes) else f"{str(given)[:120]!r}"
        parts.append(f"{where}: {fault['msg']}, got {got}")
    return "; ".join(parts)
