"""The planners to beat: what each does with the same cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from agent import baselines
from agent.cell_plan import CellPlan, largest_remainder
from agent.goal import GoalTerms
from agent.prompting import needed_share_pct
from agent.utility import expected_load
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.actions import Scheduler
from tests.agent_stage import random_case

CASES = [random_case(seed) for seed in range(12)]
SLICED = [baselines.uniform, baselines.proportional, baselines.weighted_need, baselines.static_priority]
POOLED = [
    (baselines.proportional_fair, Scheduler.PROPORTIONAL_FAIR),
    (baselines.earliest_deadline_first, Scheduler.EARLIEST_DEADLINE_FIRST),
]


def radio(plan: CellPlan) -> list[int]:
    return [part.min_pct for part in plan.slices]


def compute(plan: CellPlan) -> list[int]:
    return [part.compute_pct for part in plan.slices]


def scaled(digest: EdgeDigest, factor: float) -> EdgeDigest:
    """The same cell with another amount of everything that is asked."""
    rows = tuple(
        row.model_copy(update={"forecast_demand_kbps": factor * row.forecast_demand_kbps}) for row in digest.slices
    )
    return digest.model_copy(update={"slices": rows})


@pytest.mark.parametrize("formula", SLICED)
@pytest.mark.parametrize("case", CASES)
def test_a_sliced_plan_hands_out_the_whole_cell(
    formula: Callable[[EdgeDigest, GoalTerms], CellPlan], case: tuple[EdgeDigest, GoalTerms]
) -> None:
    plan = formula(*case)

    assert plan.cell == case[0].cell
    assert sum(radio(plan)) == sum(compute(plan)) == 100
    assert min(radio(plan) + compute(plan)) >= 0
    assert len(plan.slices) == len(case[0].slices)


@pytest.mark.parametrize(
    ("formula", "scheduler"),
    POOLED,
)
def test_a_pool_guarantees_nothing_to_anyone(
    formula: Callable[[EdgeDigest, GoalTerms], CellPlan], scheduler: Scheduler
) -> None:
    for digest, terms in CASES:
        plan = formula(digest, terms)
        assert set(radio(plan)) == set(compute(plan)) == {0}
        assert {part.scheduler for part in plan.slices} == {scheduler}


def test_uniform_is_equal_to_a_percent_whatever_is_asked() -> None:
    for digest, terms in CASES:
        plan = baselines.uniform(digest, terms)
        assert max(radio(plan)) - min(radio(plan)) <= 1
        assert radio(plan) == compute(plan)
        assert plan == baselines.uniform(scaled(digest, 7.0), terms)


def test_proportional_follows_demand_and_not_weight() -> None:
    for digest, terms in CASES:
        load = expected_load(digest, terms)
        plan = baselines.proportional(digest, terms)
        exact = 100.0 * load.load_pct / load.load_pct.sum()
        assert np.abs(np.array(radio(plan)) - exact).max() < 1.0
        assert plan == baselines.proportional(digest, replace(terms, weight=terms.weight[::-1].copy()))


def test_weighted_need_is_weight_times_need() -> None:
    for digest, terms in CASES:
        load = expected_load(digest, terms)
        claim = terms.weight * needed_share_pct(load, terms.target)
        assert radio(baselines.weighted_need(digest, terms)) == list(largest_remainder(tuple(claim), 100))


def test_static_priority_gives_needs_in_weight_order_until_nothing_is_left() -> None:
    for digest, terms in CASES:
        crowded = scaled(digest, 3.0)
        need = np.ceil(needed_share_pct(expected_load(crowded, terms), terms.target))
        shares = radio(baselines.static_priority(crowded, terms))
        left = 100.0
        expected = np.zeros(len(need))
        for row in sorted(range(len(need)), key=lambda at: (-terms.weight[at], at)):
            expected[row] = min(need[row], left)
            left -= expected[row]
        if left == 0:
            assert shares == expected.astype(int).tolist()
        else:
            assert all(share >= wanted for share, wanted in zip(shares, expected, strict=True))


def test_static_priority_starves_the_light_for_the_weighty() -> None:
    digest, terms = random_case(0, num_slices=3)
    crowded = scaled(digest, 50.0)
    weights = np.array([1.0, 9.0, 4.0])

    assert radio(baselines.static_priority(crowded, replace(terms, weight=weights))) == [0, 100, 0]


def test_static_priority_spreads_what_nobody_needs_by_demand() -> None:
    digest, terms = random_case(0, num_slices=3)
    quiet = scaled(digest, 0.01)
    need = np.ceil(needed_share_pct(expected_load(quiet, terms), terms.target))
    shares = np.array(radio(baselines.static_priority(quiet, terms)))

    assert need.sum() < 100
    assert shares.sum() == 100
    assert (shares >= need - 1).all()


def test_a_cell_without_demand_is_split_equally() -> None:
    digest, terms = random_case(0, num_slices=4)
    idle = scaled(digest, 0.0)

    assert radio(baselines.proportional(idle, terms)) == [25] * 4
    assert radio(baselines.weighted_need(idle, terms)) == [25] * 4
