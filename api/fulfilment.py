"""Goals that can't be met: what no schedule reaches must not be called enforced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from agent.cell_plan import CellPlan
from agent.goal import ContextKind, Goal, GoalTerms, PerSlice, TargetMetric
from agent.store.goals import StoredGoal
from agent.twin import Twin
from api.guarantees import RATE_TOLERANCE, guaranteed_kbps, in_scope, rate_scope, rate_seen
from api.slice_sla import POLICY_TYPE_ID
from edge_preprocess.digest import EdgeDigest

PATIENCE = 3
"""Intervals in a row in which a goal that was met must fall short before it counts as not enforced."""
_RATIO_TOLERANCE = 0.02

Key = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class _Cell:
    """One cell's interval, and what the twin expects of the plan that is in force now."""

    digest: EdgeDigest
    terms: GoalTerms
    plan: CellPlan
    twin: Twin

    @cached_property
    def expected_in_time(self) -> PerSlice:
        return self.twin.expected_in_time(self.plan, self.digest, self.terms)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Miss:
    """An interval in which a goal was not met."""

    why: str
    is_foreseen: bool
    """The twin expects no better of the plan that is in force now."""


class Fulfilment:
    """Holds goals to what was observed and to what the twin expects.

    A goal that was never met falls short at once where both miss it: the observation may be from before its plan, and
    the twin alone is wrong by a tenth. Otherwise it takes patience, so that bad luck is not told to anybody.
    """

    def __init__(self, twin: Twin | None = None) -> None:
        self._twin = twin or Twin()
        self._num_bad: dict[tuple[Key, int], int] = {}
        """Intervals in a row that a goal and revision has missed; none for one that was not judged yet."""

    def shortfalls(
        self,
        goals: Iterable[StoredGoal],
        digests: Sequence[EdgeDigest],
        terms: Sequence[GoalTerms],
        plans: Mapping[int, CellPlan],
    ) -> dict[Key, str]:
        """The goals that can't be met as things are, and why."""
        cells = [
            _Cell(digest=digest, terms=term, plan=plans[digest.cell], twin=self._twin)
            for digest, term in zip(digests, terms, strict=True)
            if digest.cell in plans
        ]
        counts: dict[tuple[Key, int], int] = {}
        short: dict[Key, str] = {}
        for stored in goals:
            key = (stored.key, stored.revision)
            miss = _miss_of(stored, cells)
            if miss is None:
                counts[key] = 0
                continue
            is_new = key not in self._num_bad
            counts[key] = PATIENCE if is_new and miss.is_foreseen else self._num_bad.get(key, 0) + 1
            if counts[key] >= PATIENCE:
                short[stored.key] = miss.why
        self._num_bad = counts
        return short


def _miss_of(stored: StoredGoal, cells: list[_Cell]) -> _Miss | None:
    """None where the goal is met, or there is nothing to tell by."""
    if stored.goal is None:
        return None
    if stored.policy_type == POLICY_TYPE_ID:
        rate_kbps = guaranteed_kbps(stored)
        return None if rate_kbps is None else _rate_miss(stored.goal, rate_kbps, cells)
    return next(_ratio_misses(stored.goal, cells), None)


def _rate_miss(goal: Goal, rate_kbps: float, cells: list[_Cell]) -> _Miss | None:
    """A guaranteed rate over all cells in scope: as much of it as there is demand for must be served."""
    digests = [cell.digest for cell in cells]
    scope = rate_scope(goal, digests)
    seen = rate_seen(rate_kbps, scope, digests)
    if not seen.is_carried:
        capacity = seen.capacity_kbps
        why = f"{rate_kbps:.0f} kbit/s are guaranteed, the whole of the cells in scope carries {capacity:.0f}"
        return _Miss(why=why, is_foreseen=True)
    if seen.is_served:
        return None
    foreseen = sum(float(cells[i].expected_in_time[row]) * digests[i].slices[row].demand_kbps for i, row in scope)
    due = seen.due_kbps
    why = f"{seen.served_kbps:.0f} kbit/s were served and {foreseen:.0f} are foreseen of {due:.0f} that are due"
    return _Miss(why=why, is_foreseen=foreseen < (1.0 - RATE_TOLERANCE) * due)


def _ratio_misses(goal: Goal, cells: list[_Cell]) -> Iterator[_Miss]:
    digests = [cell.digest for cell in cells]
    for expectation in goal.expectations:
        if expectation.metric is not TargetMetric.IN_TIME_RATIO or expectation.context is not ContextKind.ALWAYS:
            continue
        least = expectation.value - _RATIO_TOLERANCE
        for index, row in in_scope(expectation, digests):
            cell = cells[index]
            seen, foreseen = cell.digest.slices[row], float(cell.expected_in_time[row])
            where = f"cell {cell.digest.cell}, slice {seen.slice}"
            if cell.terms.floor[row] < least:
                yield _Miss(why=f"{where}: a goal that wins asks for less", is_foreseen=True)
            elif seen.in_time_ratio < least:
                why = (
                    f"{where}: {seen.in_time_ratio:.2f} in time and {foreseen:.2f} foreseen of {expectation.value:.2f}"
                )
                yield _Miss(why=why, is_foreseen=foreseen < least)
