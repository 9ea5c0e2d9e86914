"""What the last good plans would have given in an interval: the level that a rollback is decided against."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from statistics import fmean

from agent.cell_plan import CellPlan
from agent.goal import GoalTerms
from agent.twin import Twin
from agent.utility import measured_utility
from edge_preprocess.digest import EdgeDigest

_MIN_HISTORY = 3


class Yardstick:
    """The twin's word on the last good plans under the demand that really came, corrected by the twin's usual error."""

    def __init__(self, twin: Twin | None = None, *, history_len: int = 12) -> None:
        self._twin = twin or Twin(num_futures=4)
        self._errors: deque[float] = deque(maxlen=history_len)
        self._plans: dict[int, CellPlan] = {}

    def expected(self, digests: Sequence[EdgeDigest], terms: Sequence[GoalTerms]) -> float | None:
        """None until enough good intervals were seen, and one in which every cell spoke that speaks now."""
        if len(self._errors) < _MIN_HISTORY or not _cover(self._plans, digests):
            return None
        return self._foreseen(self._plans, digests, terms) + fmean(self._errors)

    def learn(self, plans: Mapping[int, CellPlan], digests: Sequence[EdgeDigest], terms: Sequence[GoalTerms]) -> None:
        """The interval went well under these plans."""
        if not _cover(plans, digests):
            return
        self._plans = dict(plans)
        self._errors.append(mean_utility(digests, terms) - self._foreseen(self._plans, digests, terms))

    def _foreseen(
        self, plans: Mapping[int, CellPlan], digests: Sequence[EdgeDigest], terms: Sequence[GoalTerms]
    ) -> float:
        return fmean(
            self._twin.utility(plans[digest.cell], _in_hindsight(digest), term)
            for digest, term in zip(digests, terms, strict=True)
        )


def mean_utility(digests: Sequence[EdgeDigest], terms: Sequence[GoalTerms]) -> float:
    """Mean over the cells of what the interval was worth; 0 without digests."""
    return fmean([measured_utility(d, t) for d, t in zip(digests, terms, strict=True)] or [0.0])


def _cover(plans: Mapping[int, CellPlan], digests: Sequence[EdgeDigest]) -> bool:
    """Whether there are digests, and a plan for the cell of each."""
    return bool(digests) and all(digest.cell in plans for digest in digests)


def _in_hindsight(digest: EdgeDigest) -> EdgeDigest:
    """The digest with the demand that came in place of the forecast."""
    slices = tuple(
        row.model_copy(
            update={
                "forecast_demand_kbps": row.demand_kbps,
                "forecast_deviation_kbps": 0.0,
                "forecast_tasks_per_s": row.tasks_per_s,
            }
        )
        for row in digest.slices
    )
    return digest.model_copy(update={"slices": slices})
