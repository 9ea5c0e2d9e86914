"""Receding-horizon search in the twin: what a planner reaches that may try many plans against the forecast's futures.

It sees what the model sees: digest, goal, forecast and the same twin. It begins with all of the expert's candidates,
pools without slices among them. Its horizon is one interval, since the twin foresees one; its budget is counted in
tried plans, so that equal seeds give equal plans on any machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

from agent.cell_plan import CellPlan, SlicePlan, Tier
from agent.expert import candidates
from agent.goal import GoalTerms
from agent.twin import Twin
from edge_preprocess.digest import EdgeDigest

_STRIDES_PCT = (12, 4, 1)
_GAIN = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinSearch:
    """Steepest ascent in the twin from the best of the expert's candidates."""

    num_tries: int = 18
    """Plans tried for each cell and interval; more of them find the twin's errors, not better plans (docs/LOG.md)."""
    twin: Twin = field(default_factory=Twin)

    def plan(self, digest: EdgeDigest, terms: GoalTerms) -> CellPlan:
        """The best plan found."""
        outlook = self.twin.outlook(digest, terms)
        starts = tuple(islice(candidates(digest, terms), self.num_tries))
        tries_left = self.num_tries - len(starts)
        best = outlook.best(starts)
        for stride in _STRIDES_PCT:
            while nearby := tuple(islice(_neighbours(best, stride), tries_left)):
                tries_left -= len(nearby)
                now, *others = outlook.utilities((best, *nearby))
                if max(others) <= now + _GAIN:
                    break
                best = nearby[others.index(max(others))]
        return best


def _neighbours(plan: CellPlan, stride: int) -> Iterator[CellPlan]:
    """Plans one step away: `stride` points of PRBs or of CPU moved between two slices, or one slice's tier changed."""
    for giver, part in enumerate(plan.slices):
        for taker, other in enumerate(plan.slices):
            if giver == taker:
                continue
            if part.min_pct >= stride:
                yield _with(
                    plan,
                    {
                        giver: replace(part, min_pct=part.min_pct - stride),
                        taker: replace(other, min_pct=other.min_pct + stride),
                    },
                )
            if part.compute_pct >= stride:
                yield _with(
                    plan,
                    {
                        giver: replace(part, compute_pct=part.compute_pct - stride),
                        taker: replace(other, compute_pct=other.compute_pct + stride),
                    },
                )
    for row, part in enumerate(plan.slices):
        for tier in (Tier.EDGE, Tier.SPLIT, Tier.CLOUD):
            if tier is not part.tier:
                yield _with(plan, {row: replace(part, tier=tier)})


def _with(plan: CellPlan, changed: dict[int, SlicePlan]) -> CellPlan:
    return replace(plan, slices=tuple(changed.get(row, part) for row, part in enumerate(plan.slices)))
