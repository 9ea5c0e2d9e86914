"""Laws of dividing a cell: exact against enumeration and against an integer programme."""

from __future__ import annotations

from itertools import combinations_with_replacement, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cell_plan import OFFLOAD_PCT, CellPlan, SlicePlan, Tier, largest_remainder
from agent.goal import GoalTerms
from agent.optimiser import (
    _TIER_GAIN,
    _TIERS,
    _best_compute,
    _compute_for,
    _compute_worth,
    complete_plan,
    plan_cell,
)
from agent.share_split import CellTable, _lent_worth, best_split, refine_lent
from agent.utility import (
    cloud_ratio,
    contract_weight,
    demand_factors,
    expected_load,
    in_time_fraction,
    lend_idle,
    slice_worth,
)
from tests.agent_stage import random_case

seeds = st.integers(0, 2**32 - 1)


def cell_table(seed: int, num_slices: int) -> CellTable:
    """Arrivals, full service, budget, weight, contract weight, floor, target and spread of a random cell."""
    digest, terms = random_case(seed, num_slices=num_slices)
    load = expected_load(digest, terms)
    return np.stack(
        (
            load.packets_per_s,
            load.packets_per_s_full,
            load.budget_s,
            terms.weight,
            contract_weight(terms.weight),
            terms.floor,
            terms.target,
            load.spread,
        )
    )


def composed_worth(shares: np.ndarray, cell: CellTable, part: np.ndarray | float = 1.0) -> float:
    """What `agent.utility` makes of lent shares under five demands, each slice counting by its part."""
    arrival, service, budget_s, weight, _, floor, target, spread = cell
    terms = GoalTerms(
        weight=weight,
        floor=floor,
        target=target,
        delay_budget_ms=1000.0 * budget_s,
        ue_rate_cap_mbps=np.full(len(weight), np.inf),
        energy_weight=0.0,
    )
    usable = lend_idle(shares.astype(float), 100.0 * arrival / np.maximum(service, 1e-9))
    ratio = in_time_fraction(arrival * demand_factors(spread), service * usable / 100.0, budget_s)
    none = np.zeros(len(weight))
    return float((part * slice_worth(ratio, none, none, terms)).sum(axis=-1).mean())


def refined(shares: tuple[int, ...], cell: CellTable) -> tuple[int, ...]:
    names = ("arrival_per_s", "service_per_s", "budget_s", "weight", "contract_weight", "floor", "target", "spread")
    return refine_lent(shares, **dict(zip(names, cell, strict=True)))


def random_shares(rng: np.random.Generator, num_slices: int) -> np.ndarray:
    return rng.multinomial(100, rng.dirichlet(np.ones(num_slices)))


@settings(max_examples=30, deadline=None)
@given(seed=seeds, num_slices=st.sampled_from([2, 3, 4, 8]))
def test_compiled_worth_is_the_composition_of_the_queue_models_parts(seed: int, num_slices: int) -> None:
    cell = cell_table(seed, num_slices)
    shares = random_shares(np.random.default_rng(seed), num_slices)

    assert _lent_worth(shares, cell) == pytest.approx(composed_worth(shares, cell), abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=seeds, num_slices=st.sampled_from([2, 3, 4]))
def test_refining_never_loses_worth_and_keeps_the_sum(seed: int, num_slices: int) -> None:
    cell = cell_table(seed, num_slices)
    start = random_shares(np.random.default_rng(seed), num_slices)
    end = np.array(refined(tuple(int(x) for x in start), cell))

    assert end.sum() == 100
    assert (end >= 0).all()
    assert composed_worth(end, cell) >= composed_worth(start, cell) - 1e-9


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_a_cell_of_two_slices_is_split_as_well_as_by_trying_every_split(seed: int) -> None:
    digest, terms = random_case(seed, num_slices=2)
    cell = cell_table(seed, 2)
    # The optimiser leaves half of a computing slice's weight to its tasks.
    part = np.where(expected_load(digest, terms).tasks_per_s > 0, 0.5, 1.0)
    best = max(composed_worth(np.array([share, 100 - share]), cell, part) for share in range(101))
    chosen = np.array([part.min_pct for part in plan_cell(digest, terms).slices])

    assert composed_worth(chosen, cell, part) >= best - 1e-4


@settings(max_examples=20, deadline=None)
@given(seed=seeds, num_slices=st.sampled_from([2, 3, 4]))
def test_a_plan_completed_keeps_what_is_held(seed: int, num_slices: int) -> None:
    _, _, begun, plan = completed(seed, num_slices)

    assert plan.slices[1] == begun
    assert plan.is_within_budget
    assert sum(row.min_pct for row in plan.slices) == 100


@settings(max_examples=20, deadline=None)
@given(seed=seeds, num_slices=st.sampled_from([2, 3]))
def test_a_plan_completed_by_two_slices_loses_to_no_other_completion(seed: int, num_slices: int) -> None:
    worth, others, _, _ = completed(seed, num_slices)

    assert worth >= max(others) - 1e-4


def test_of_three_slices_left_open_random_completions_are_hardly_ever_better() -> None:
    # From three on no transfer between two slices gains, which is not always the best of all.
    lost = [max(*others, worth) - worth for worth, others, _, _ in (completed(seed, 4) for seed in range(150))]

    assert np.mean(np.array(lost) < 1e-4) >= 0.97
    assert np.mean(lost) < 0.02


def completed(seed: int, num_slices: int) -> tuple[float, list[float], SlicePlan, CellPlan]:
    """A completed plan's worth and that of twenty random completions, what was held, and the plan."""
    digest, terms = random_case(seed, num_slices=num_slices)
    cell = cell_table(seed, num_slices)
    part = np.where(expected_load(digest, terms).tasks_per_s > 0, 0.5, 1.0)
    rng = np.random.default_rng(seed)
    begun = SlicePlan(min_pct=int(rng.integers(0, 60)), compute_pct=int(rng.integers(0, 60)), tier=Tier.DEVICE)
    plan = complete_plan({1: begun}, digest, terms)
    others = [
        np.insert(rng.multinomial(100 - begun.min_pct, rng.dirichlet(np.ones(num_slices - 1))), 1, begun.min_pct)
        for _ in range(20)
    ]
    worth = composed_worth(np.array([row.min_pct for row in plan.slices]), cell, part)
    return worth, [composed_worth(other, cell, part) for other in others], begun, plan


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_holding_the_optimums_own_slices_changes_nothing(seed: int) -> None:
    digest, terms = random_case(seed)
    plan = plan_cell(digest, terms)

    assert complete_plan(dict(enumerate(plan.slices)), digest, terms) == plan


@settings(max_examples=30, deadline=None)
@given(seed=seeds, num_slices=st.sampled_from([2, 3]), coarseness=st.sampled_from([10, 20, 25]))
def test_best_split_equals_enumeration_on_coarse_tables(seed: int, num_slices: int, coarseness: int) -> None:
    rng = np.random.default_rng(seed)
    # Worth changes only at multiples of the coarseness, so that only those need trying.
    steps = rng.random((num_slices, 100 // coarseness + 1)).cumsum(axis=1)
    worth = steps[:, np.arange(101) // coarseness]
    shares = best_split(worth, spare_by=np.ones(num_slices))
    every = [
        sum(worth[row, part] for row, part in enumerate(parts))
        for parts in np.ndindex(*(100 // coarseness + 1,) * num_slices)
        if sum(parts) * coarseness <= 100
        for parts in [tuple(part * coarseness for part in parts)]
    ]

    assert sum(shares) == 100
    assert sum(worth[row, share] for row, share in enumerate(shares)) == pytest.approx(max(every), abs=1e-4)


@pytest.mark.parametrize("num_slices", [2, 3, 4])
def test_best_split_equals_an_integer_programme(num_slices: int) -> None:
    for seed in range(3):
        worth = np.random.default_rng(seed).normal(size=(num_slices, 101)).cumsum(axis=1)
        shares = best_split(np.maximum.accumulate(worth, axis=1), spare_by=np.ones(num_slices))
        found = sum(np.maximum.accumulate(worth, axis=1)[row, share] for row, share in enumerate(shares))

        assert found == pytest.approx(programmed_optimum(np.maximum.accumulate(worth, axis=1)), abs=1e-3)


def programmed_optimum(worth: np.ndarray) -> float:
    """The greatest total worth found by HiGHS: one share per slice, together at most a hundred."""
    import highspy

    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("mip_rel_gap", 0.0)
    solver.setOptionValue("threads", 1)
    picks = [[solver.addBinary(obj=-float(value)) for value in row] for row in worth]
    for row in picks:
        solver.addConstr(sum(row[1:], start=row[0] * 1.0) == 1)
    terms = [float(share) * pick for row in picks for share, pick in enumerate(row) if share]
    solver.addConstr(sum(terms[1:], start=terms[0]) <= 100)
    solver.run()
    return -float(solver.getInfo().objective_function_value)


@given(weights=st.lists(st.floats(0.0, 1e6), min_size=1, max_size=8), total=st.integers(0, 100))
def test_largest_remainders_sum_to_the_total_and_lie_within_one_of_the_quota(weights: list[float], total: int) -> None:
    parts = largest_remainder(weights, total)

    assert sum(parts) == total
    assert all(part >= 0 for part in parts)
    if sum(weights) > 0:
        assert all(
            abs(part - weight / sum(weights) * total) < 1.0 + 1e-9 for part, weight in zip(parts, weights, strict=True)
        )


@given(weights=st.lists(st.integers(0, 1000), min_size=2, max_size=8))
def test_a_larger_weight_never_gets_less(weights: list[int]) -> None:
    parts = largest_remainder([float(weight) for weight in weights], 100)
    ordered = sorted(zip(weights, parts, strict=True))

    if sum(weights):
        assert all(one[1] <= other[1] or one[0] == other[0] for one, other in combinations_with_replacement(ordered, 2))


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(2, 4))
def test_no_tiers_of_compute_are_worth_more_than_leaving_the_edge_must_gain(seed: int, num_slices: int) -> None:
    digest, terms = random_case(seed, num_slices=num_slices)
    load = expected_load(digest, terms)
    found = _best_compute(digest, load, terms, {})
    computing = [int(row) for row in np.flatnonzero(load.tasks_per_s > 0)]
    at_cloud = cloud_ratio(digest, load)
    tables = {tier: _compute_worth(OFFLOAD_PCT[tier][1] / 100.0, load, terms, at_cloud) for tier in _TIERS}
    for choice in product(_TIERS, repeat=len(computing)):
        tiers = [Tier.EDGE] * num_slices
        for row, tier in zip(computing, choice, strict=True):
            tiers[row] = tier
        worth = np.stack([tables[tier][row] for row, tier in enumerate(tiers)])
        other = _compute_for(tuple(tiers), worth, load, {})
        assert not computing or other.worth <= found.worth + _TIER_GAIN + 1e-9
