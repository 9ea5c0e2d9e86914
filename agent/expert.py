"""The expert: of few whole plans the one that the twin foresees most of; what the policy model learns from on sites.

Its candidates differ in what no queue formula weighs well: whether to slice at all, and in whose order packets leave.
Shares are the optimiser's, exact as hard ones. How far each candidate falls behind the best is told to the
policy model too: it reads what the gate will hold against it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from agent.baselines import uniform
from agent.cell_plan import CellPlan
from agent.goal import GoalTerms
from agent.optimiser import plan_cell
from agent.prompting import Lags, Prompt, write_prompt
from agent.twin import Outlook, Twin
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.actions import Scheduler

_SCHEDULERS = (Scheduler.PROPORTIONAL_FAIR, Scheduler.EARLIEST_DEADLINE_FIRST)
"""Round robin for all is never best in the simulator, but the best of many estimates is often an overestimate."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Foresight:
    """What the twin foresees of the candidates in one cell under one goal."""

    digest: EdgeDigest
    terms: GoalTerms
    outlook: Outlook
    plans: tuple[CellPlan, ...]
    utilities: Float64[NDArray[np.float64], " plans"]
    """Mean worth of each plan over the futures, at most 1."""

    @property
    def best(self) -> CellPlan:
        """The candidate of most worth, the first of several."""
        return self.plans[int(self.utilities.argmax())]

    @property
    def lags(self) -> Lags:
        """How far each candidate falls behind the best, in the order that prompts tell them."""
        own, *others = (float(self.utilities.max() - utility) for utility in self.utilities)
        # `candidates` gives the three kinds of shares scheduler by scheduler.
        split, pool, even = others[0::3], others[1::3], others[2::3]
        return Lags(split=(own, *split), pool=tuple(pool), even=tuple(even))

    @property
    def prompt(self) -> Prompt:
        """What the policy model reads of the cell."""
        return write_prompt(self.digest, self.terms, self.lags)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expert:
    """Asks the twin about every candidate."""

    twin: Twin = field(default_factory=Twin)

    def foresee(self, digest: EdgeDigest, terms: GoalTerms) -> Foresight:
        """Every candidate with its worth."""
        outlook = self.twin.outlook(digest, terms)
        plans = tuple(candidates(digest, terms))
        return Foresight(digest=digest, terms=terms, outlook=outlook, plans=plans, utilities=outlook.utilities(plans))

    def plan(self, digest: EdgeDigest, terms: GoalTerms) -> CellPlan:
        """The best candidate."""
        return self.foresee(digest, terms).best


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
