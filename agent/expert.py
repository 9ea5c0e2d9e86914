"""The expert: of few whole plans the one that the twin foresees most of; what the policy model learns from on sites.

Its candidates differ in what no queue formula weighs well: whether to slice at all, and in whose order packets leave.
Shares are the optimiser's, which is exact about them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from agent.baselines import uniform
from agent.cell_plan import CellPlan, SlicePlan
from agent.goal import GoalTerms
from agent.optimiser import complete_plan
from agent.twin import Twin
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.actions import Scheduler


@dataclass(frozen=True, slots=True, kw_only=True)
class Expert:
    """Asks the twin about every candidate."""

    twin: Twin = field(default_factory=Twin)

    def plan(self, digest: EdgeDigest, terms: GoalTerms) -> CellPlan:
        """The best candidate."""
        return self.complete({}, digest, terms)

    def complete(self, held: Mapping[int, SlicePlan], digest: EdgeDigest, terms: GoalTerms) -> CellPlan:
        """The best among candidates that leave the slices in `held`, by row, as they are."""
        outlook = self.twin.outlook(digest, terms)
        return max(candidates(held, digest, terms), key=outlook.utility)


def candidates(held: Mapping[int, SlicePlan], digest: EdgeDigest, terms: GoalTerms) -> Iterator[CellPlan]:
    """The optimiser's plan first; each other one differs from it in shares or schedulers only."""
    plan = complete_plan(held, digest, terms)
    yield plan
    even = uniform(digest, terms)
    for scheduler in Scheduler:
        rows = [replace(part, scheduler=scheduler) for part in plan.slices]
        pooled = [replace(part, min_pct=0) for part in rows]
        yield _keeping(held, replace(plan, slices=tuple(rows)))
        yield _keeping(held, replace(plan, slices=tuple(pooled)))
        if not held:
            shares = zip(rows, even.slices, strict=True)
            yield replace(plan, slices=tuple(replace(part, min_pct=equal.min_pct) for part, equal in shares))


def _keeping(held: Mapping[int, SlicePlan], plan: CellPlan) -> CellPlan:
    return replace(plan, slices=tuple(held.get(row, part) for row, part in enumerate(plan.slices)))
