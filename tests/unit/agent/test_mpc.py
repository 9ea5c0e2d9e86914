"""Search in the twin: bounded, feasible, and never behind what it starts from."""

from __future__ import annotations

from agent.baselines import uniform
from agent.mpc import TwinSearch
from agent.optimiser import plan_cell
from agent.pretraining.evaluation import static_cases
from agent.twin import Twin

CASES = static_cases(12, seed=6)
TWIN = Twin()


def test_the_twin_never_puts_a_searched_plan_behind_the_optimisers() -> None:
    gains = []
    for digest, terms in CASES:
        found = TwinSearch(num_tries=120).plan(digest, terms)
        starts = (plan_cell(digest, terms), uniform(digest, terms))
        gains.append(TWIN.utility(found, digest, terms) - max(TWIN.utility(p, digest, terms) for p in starts))
        assert found.is_within_budget
        assert all(part.min_pct >= 0 and part.compute_pct >= 0 for part in found.slices)

    assert min(gains) >= 0.0
    assert max(gains) > 0.001


def test_more_tries_never_find_less() -> None:
    for digest, terms in CASES[:6]:
        worths = [TWIN.utility(TwinSearch(num_tries=n).plan(digest, terms), digest, terms) for n in (2, 40, 160)]
        assert worths == sorted(worths)


def test_two_tries_are_the_two_starts() -> None:
    for digest, terms in CASES:
        starts = (plan_cell(digest, terms), uniform(digest, terms))
        best = max(starts, key=lambda plan: TWIN.utility(plan, digest, terms))
        assert TwinSearch(num_tries=2).plan(digest, terms) == best
