"""Search in the twin: bounded, feasible, and never behind what it starts from."""

from __future__ import annotations

from agent.expert import candidates
from agent.mpc import TwinSearch
from agent.pretraining.evaluation import static_cases
from agent.twin import Twin

CASES = static_cases(12, seed=6)
TWIN = Twin()


def test_the_twin_never_puts_a_searched_plan_behind_the_experts() -> None:
    gains = []
    for digest, terms in CASES:
        found = TwinSearch(num_tries=120).plan(digest, terms)
        starts = tuple(candidates(digest, terms))
        gains.append(TWIN.utility(found, digest, terms) - max(TWIN.utility(p, digest, terms) for p in starts))
        assert found.is_within_budget
        assert all(part.min_pct >= 0 and part.compute_pct >= 0 for part in found.slices)

    assert min(gains) >= 0.0
    assert max(gains) > 0.001


def test_more_tries_never_find_less() -> None:
    for digest, terms in CASES[:6]:
        worths = [TWIN.utility(TwinSearch(num_tries=n).plan(digest, terms), digest, terms) for n in (10, 40, 120)]
        assert worths == sorted(worths)


def test_as_many_tries_as_candidates_choose_among_these() -> None:
    for digest, terms in CASES:
        starts = tuple(candidates(digest, terms))
        best = max(starts, key=lambda plan: TWIN.utility(plan, digest, terms))
        assert TwinSearch(num_tries=len(starts)).plan(digest, terms) == best
