"""Guaranteed rates that A1 policies ask for, held to what was seen over all the cells in their scope."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent.goal import Expectation, Goal
from agent.store.goals import StoredGoal
from api.slice_sla import POLICY_TYPE_ID, SliceSlaTarget
from edge_preprocess.digest import EdgeDigest

RATE_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class RateSeen:
    """What a guaranteed rate came to over the rows in its scope."""

    rate_kbps: float
    demand_kbps: float
    served_kbps: float
    capacity_kbps: float
    """Of the whole cells; infinite where a slice has no device to tell by."""

    @property
    def is_carried(self) -> bool:
        return self.capacity_kbps >= self.rate_kbps

    @property
    def due_kbps(self) -> float:
        """As much of the rate as there is demand for."""
        return min(self.rate_kbps, self.demand_kbps)

    @property
    def is_served(self) -> bool:
        return self.served_kbps >= (1.0 - RATE_TOLERANCE) * self.due_kbps


def guaranteed_kbps(stored: StoredGoal) -> float | None:
    """Over all cells in scope; None where the goal guarantees no rate or can't be heeded here."""
    if stored.policy_type != POLICY_TYPE_ID or stored.goal is None:
        return None
    return SliceSlaTarget.model_validate_json(stored.document).sliceSlaObjectives.guaDlThptPerSlice


def rate_scope(goal: Goal, digests: Sequence[EdgeDigest]) -> list[tuple[int, int]]:
    """Digests and rows that a rate stretches over, each once."""
    return list(dict.fromkeys(place for each in goal.expectations for place in in_scope(each, digests)))


def rate_seen(rate_kbps: float, scope: Sequence[tuple[int, int]], digests: Sequence[EdgeDigest]) -> RateSeen:
    seen = [(digests[index].num_prb, digests[index].slices[row]) for index, row in scope]
    is_known = all(part.kbps_per_prb for _, part in seen)
    return RateSeen(
        rate_kbps=rate_kbps,
        demand_kbps=sum(part.demand_kbps for _, part in seen),
        served_kbps=sum(part.served_kbps for _, part in seen),
        capacity_kbps=sum(num_prb * part.kbps_per_prb for num_prb, part in seen) if is_known else float("inf"),
    )


def in_scope(expectation: Expectation, digests: Sequence[EdgeDigest]) -> Iterator[tuple[int, int]]:
    """Digests, and in them rows of slices, that an expectation is about."""
    for index, digest in enumerate(digests):
        if expectation.cells and digest.cell not in expectation.cells:
            continue
        for row, seen in enumerate(digest.slices):
            if not expectation.slices or seen.slice in expectation.slices:
                yield index, row
