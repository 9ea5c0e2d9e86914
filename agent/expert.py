"""The expert: of few whole plans the one that the twin foresees most of; what the policy model learns from on sites.

Its candidates differ in what no queue formula weighs well: whether to slice at all, and in whose order packets leave.
Shares are the optimiser's, which is exact about them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from agent.baselines import uniform
from agent.cell_plan import CellPlan
from agent.goal import GoalTerms
from agent.optimiser import plan_cell
from agent.twin import Twin
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.actions import Scheduler

_SCHEDULERS = (Scheduler.PROPORTIONAL_FAIR, Scheduler.EARLIEST_DEADLINE_FIRST)
"""Round robin for all is never best in the simulator, but the best of many estimates is often an overestimate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expert:
    """Asks the twin about every candidate."""

    twin: Twin = field(default_factory=Twin)

    def plan(self, digest: EdgeDigest, terms: GoalTerms) -> CellPlan:
        """The best candidate."""
        return self.twin.outlook(digest, terms).best(tuple(candidates(digest, terms)))


def candidates(digest: EdgeDigest, terms: GoalTerms) -> Iterator[CellPlan]:
    """The optimiser's plan first; each other one differs from it in shares or schedulers only."""
    plan = plan_cell(digest, terms)
    yield plan
    even = uniform(digest, terms)
    for scheduler in _SCHEDULERS:
        rows = [replace(part, scheduler=scheduler) for part in plan.slices]
        yield replace(plan, slices=tuple(rows))
        yield replace(plan, slices=tuple(replace(part, min_pct=0) for part in rows))
        shares = zip(rows, even.slices, strict=True)
        yield replace(plan, slices=tuple(replace(part, min_pct=equal.min_pct) for part, equal in shares))
