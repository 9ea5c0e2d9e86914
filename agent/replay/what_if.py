"""What a plan would have done: in the futures that its digest foretold, and against the demand that really came."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from agent.cell_plan import CellPlan
from agent.goal import GoalTerms
from agent.twin import Twin
from edge_preprocess.digest import EdgeDigest


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """Utilities of one plan in the twin, at most 1."""

    foreseen: float
    """Mean over the futures drawn around the digest's forecast."""
    hindsight: float | None
    """Against the next interval's measured demand; None for the last interval, and where the link is not known."""


def try_plan(plan: CellPlan, digest: EdgeDigest, terms: GoalTerms, twin: Twin, following: EdgeDigest | None) -> WhatIf:
    """The plan's utilities; `following` is the same cell's next digest."""
    hindsight = None if following is None else twin.utility(plan, as_it_came(following), terms)
    return WhatIf(foreseen=twin.utility(plan, digest, terms), hindsight=hindsight)


def is_link_known(unknown: Collection[str]) -> bool:
    """Whether the twin has what a PRB carried; else its guess may contradict what was served, so it is no hindsight."""
    return "prb_used" not in unknown


def as_it_came(digest: EdgeDigest) -> EdgeDigest:
    """The digest as if its own interval had been foretold exactly."""
    rows = tuple(
        row.model_copy(
            update={
                "forecast_demand_kbps": row.demand_kbps,
                "forecast_deviation_kbps": 0.0,
                "forecast_tasks_per_s": row.tasks_per_s,
            }
        )
        for row in digest.slices
    )
    return digest.model_copy(update={"slices": rows})
