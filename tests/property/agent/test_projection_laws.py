"""Laws of the projection on the feasible set."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from agent.cell_plan import POWER_STEPS_DB, REPORT_INTERVALS_S, CellPlan, SlicePlan
from agent.guardrails import GuardRails, project

NUM_SLICES = 4


def cell_plan(shares: list[int], cpus: list[int], step: int = 0, interval_s: int = 1) -> CellPlan:
    rows = tuple(
        SlicePlan(min_pct=share, compute_pct=cpu, report_interval_s=interval_s)
        for share, cpu in zip(shares, cpus, strict=True)
    )
    return CellPlan(cell=1, slices=rows, tx_power_step_db=step)


def shares_of(plan: CellPlan) -> list[int]:
    return [part.min_pct for part in plan.slices]


percents = st.lists(st.integers(-50, 250), min_size=NUM_SLICES, max_size=NUM_SLICES)
wild_plans = st.builds(cell_plan, percents, percents, st.integers(-20, 20), st.integers(0, 60))


def _fit(weights: list[int]) -> list[int]:
    total = max(sum(weights), 1)
    return [100 * weight // total for weight in weights]


budgets = st.lists(st.integers(0, 100), min_size=NUM_SLICES, max_size=NUM_SLICES).map(_fit)
feasible_plans = st.builds(
    cell_plan, budgets, budgets, st.sampled_from(POWER_STEPS_DB), st.sampled_from(REPORT_INTERVALS_S)
)
rails = st.builds(GuardRails, max_change_pct=st.integers(0, 100))


@given(plan=wild_plans, previous=st.none() | feasible_plans, rails=rails)
def test_what_is_projected_is_feasible(plan: CellPlan, previous: CellPlan | None, rails: GuardRails) -> None:
    projected = project(plan, previous, rails).plan

    assert projected.is_within_budget
    assert projected.tx_power_step_db in POWER_STEPS_DB
    assert all(0 <= part.min_pct <= 100 and 0 <= part.compute_pct <= 100 for part in projected.slices)
    assert all(part.report_interval_s in REPORT_INTERVALS_S for part in projected.slices)


@given(plan=wild_plans, previous=feasible_plans, rails=rails)
def test_no_share_moves_faster_than_allowed(plan: CellPlan, previous: CellPlan, rails: GuardRails) -> None:
    projected = project(plan, previous, rails).plan

    for after, before in zip(shares_of(projected), shares_of(previous), strict=True):
        assert abs(after - before) <= rails.max_change_pct


@given(plan=wild_plans, previous=st.none() | feasible_plans, rails=rails)
def test_projecting_twice_changes_nothing_more(plan: CellPlan, previous: CellPlan | None, rails: GuardRails) -> None:
    once = project(plan, previous, rails).plan
    twice = project(once, previous, rails)

    assert twice.plan == once
    assert twice.repairs == ()


@given(plan=feasible_plans, previous=st.none() | feasible_plans)
def test_a_feasible_plan_is_left_alone(plan: CellPlan, previous: CellPlan | None) -> None:
    projection = project(plan, previous, GuardRails())

    assert projection.plan == plan
    assert projection.repairs == ()


@given(plan=wild_plans, previous=st.none() | feasible_plans, rails=rails)
def test_every_change_is_named_among_the_repairs(plan: CellPlan, previous: CellPlan | None, rails: GuardRails) -> None:
    projection = project(plan, previous, rails)

    assert (projection.plan != plan) == bool(projection.repairs)


@given(plan=wild_plans, previous=wild_plans)
def test_an_infeasible_plan_in_force_does_not_make_the_next_one_infeasible(plan: CellPlan, previous: CellPlan) -> None:
    assert project(plan, previous, GuardRails(max_change_pct=1)).plan.is_within_budget


def test_an_overrun_is_scaled_in_proportion() -> None:
    projection = project(cell_plan([80, 80, 40, 0], [0, 0, 0, 0]), None, GuardRails())

    assert shares_of(projection.plan) == [40, 40, 20, 0]
    assert projection.repairs == ("share_budget",)


def test_a_plan_of_another_number_of_slices_sets_no_limits() -> None:
    plan = cell_plan([70, 10, 10, 10], [0, 0, 0, 0])
    previous = replace(plan, slices=plan.slices[:2])

    assert project(plan, previous, GuardRails(max_change_pct=0)).plan == plan
