"""Goal: what the operator wants, shaped like a TS 28.312 intent, and what it means for one cell.

Source of the shape: 3GPP TS 28.312, 6.2.1 (Intent, IntentExpectation, ExpectationTarget, ExpectationContext).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from jaxtyping import Float64
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Strict, StringConstraints, model_validator

from agent.errors import GoalInvalid
from edge_preprocess.digest import AnomalyKind
from telemetry_sim.topology import SliceId, Topology

if TYPE_CHECKING:
    from edge_preprocess.digest import EdgeDigest

PerSlice = Float64[NDArray[np.float64], " slices"]


class _Contract(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TargetMetric(StrEnum):
    """What an expectation is about."""

    PRIORITY = "priority"
    """Multiplier of the slice's weight (value 0.1-10)."""
    IN_TIME_RATIO = "in_time_ratio"
    """At least this share of the bits within the delay budget."""
    DELAY_MS = "delay_ms"
    """At most this packet delay: tightens the slice's budget."""
    UE_RATE_MBPS = "ue_rate_mbps"
    """At most this rate for each device of the slice."""
    ENERGY = "energy"
    """Weight of the energy saved, 0-1, against the utility lost."""


class ContextKind(StrEnum):
    """When an expectation holds."""

    ALWAYS = "always"
    CELL_DOWN = "cell_down"
    """While a neighbouring cell is out of service or asleep."""
    CONGESTED = "congested"
    """While the cell's PRB use exceeds 90 %."""
    SENSOR_ANOMALY = "sensor_anomaly"
    """While application readings in the cell stand still or leave their usual range."""


_BOUNDS = {
    TargetMetric.PRIORITY: (0.1, 10.0),
    TargetMetric.IN_TIME_RATIO: (0.0, 1.0),
    TargetMetric.DELAY_MS: (0.1, 100_000.0),
    TargetMetric.UE_RATE_MBPS: (0.001, 10_000.0),
    TargetMetric.ENERGY: (0.0, 1.0),
}


def _with_whole_numbers(given: object) -> object:
    """A slice as it was written, where true and "2" are no numbers."""
    fields = given if isinstance(given, dict) else {}
    faults = [f"{name} {value!r}" for name, value in fields.items() if isinstance(value, bool | str | float)]
    if faults:
        raise ValueError(f"{', '.join(faults)}: whole numbers are expected")
    return given


class Expectation(_Contract):
    """One thing wanted of some slices in some cells."""

    metric: TargetMetric
    value: Annotated[float, Strict()]
    slices: Annotated[tuple[Annotated[SliceId, BeforeValidator(_with_whole_numbers)], ...], MaxLen(8)] = ()
    """Empty: all slices."""
    cells: Annotated[tuple[Annotated[int, Strict(), Ge(0), Le(0xFFFF)], ...], MaxLen(1000)] = ()
    """Empty: all cells."""
    context: ContextKind = ContextKind.ALWAYS

    @model_validator(mode="after")
    def _is_in_bounds(self) -> Expectation:
        low, high = _BOUNDS[self.metric]
        if not low <= self.value <= high:
            raise ValueError(f"{self.metric.value} must lie in {low}-{high}, got {self.value}")
        return self


GoalId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Expectations = Annotated[tuple[Expectation, ...], MinLen(1), MaxLen(32)]
Priority = Annotated[int, Strict(), Ge(0), Le(100)]
NetworkTime = Annotated[float, Strict(), Gt(0)]


class Goal(_Contract):
    """An operator's intent; the later of two goals of equal priority wins where they meet."""

    id: GoalId
    expectations: Expectations
    priority: Priority = 0
    """Higher wins."""
    valid_until_s: NetworkTime | None = None
    """In seconds of the network's time; None: until it is withdrawn."""

    def is_expired(self, now_s: float) -> bool:
        """Whether the goal asks for nothing any more at this network time."""
        return self.valid_until_s is not None and now_s >= self.valid_until_s


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalTerms:
    """A goal resolved for one cell: one number per slice."""

    weight: PerSlice
    floor: PerSlice
    """Least in-time ratio; 0 where none is asked."""
    target: PerSlice
    """In-time ratio at which the slice's SLA holds."""
    delay_budget_ms: PerSlice
    ue_rate_cap_mbps: PerSlice
    """Infinite where none is asked."""
    energy_weight: float


def check_goal(goal: Goal, topology: Topology) -> None:
    """Refuse unknown cells and slices; raises GoalInvalid."""
    cells = {cell.id for cell in topology.cells}
    slices = {profile.id for profile in topology.slices}
    for index, expectation in enumerate(goal.expectations):
        for cell in expectation.cells:
            if cell not in cells:
                raise GoalInvalid(f"expectations[{index}].cells: {cell} is unknown; cells are {sorted(cells)[:20]}")
        for slice_id in expectation.slices:
            if slice_id not in slices:
                known = sorted(map(str, slices))
                raise GoalInvalid(f"expectations[{index}].slices: {slice_id} is unknown; slices are {known}")


def resolve_goals(goals: tuple[Goal, ...], topology: Topology, digest: EdgeDigest) -> GoalTerms:
    """What all live goals together ask of the digest's cell; higher priority is applied last and wins."""
    weight = np.array([profile.weight for profile in topology.slices])
    floor = np.zeros(len(topology.slices))
    budget_ms = np.array([profile.delay_budget_ms for profile in topology.slices])
    rate_cap = np.full(len(topology.slices), np.inf)
    energy_weight = 0.0
    for goal in sorted(goals, key=lambda g: g.priority):
        if goal.is_expired(digest.end_s):
            continue
        for expectation in goal.expectations:
            if not _applies(expectation, digest):
                continue
            rows = _slice_rows(expectation, topology)
            match expectation.metric:
                case TargetMetric.PRIORITY:
                    weight[rows] = [topology.slices[row].weight * expectation.value for row in rows]
                case TargetMetric.IN_TIME_RATIO:
                    floor[rows] = expectation.value
                case TargetMetric.DELAY_MS:
                    budget_ms[rows] = np.minimum(budget_ms[rows], expectation.value)
                case TargetMetric.UE_RATE_MBPS:
                    rate_cap[rows] = expectation.value
                case TargetMetric.ENERGY:
                    energy_weight = expectation.value
    return GoalTerms(
        weight=weight,
        floor=floor,
        target=np.array([profile.in_time_target for profile in topology.slices]),
        delay_budget_ms=budget_ms,
        ue_rate_cap_mbps=rate_cap,
        energy_weight=energy_weight,
    )


def _applies(expectation: Expectation, digest: EdgeDigest) -> bool:
    if expectation.cells and digest.cell not in expectation.cells:
        return False
    if expectation.context is ContextKind.CELL_DOWN:
        return any(not neighbour.is_up for neighbour in digest.neighbours)
    if expectation.context is ContextKind.CONGESTED:
        return digest.prb_used > 0.9 * digest.num_prb
    if expectation.context is ContextKind.SENSOR_ANOMALY:
        return any(anomaly.kind is AnomalyKind.SENSOR for anomaly in digest.anomalies)
    return True


def _slice_rows(expectation: Expectation, topology: Topology) -> list[int]:
    wanted = set(expectation.slices)
    return [row for row, profile in enumerate(topology.slices) if not wanted or profile.id in wanted]
