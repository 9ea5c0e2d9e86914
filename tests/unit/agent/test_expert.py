"""The expert: never behind the optimiser in the twin, pools among its candidates."""

from __future__ import annotations

import re

import numpy as np

from agent.expert import Expert, candidates
from agent.optimiser import plan_cell
from agent.pretraining.evaluation import static_cases
from agent.prompting import Lags
from agent.twin import Twin
from agent.twin_features import is_pool, shares_of
from telemetry_sim.actions import Scheduler

CASES = static_cases(10, seed=8)


def test_the_expert_is_the_best_candidate_and_never_behind_the_optimiser() -> None:
    twin = Twin()
    for case in CASES:
        worth = twin.utility(Expert(twin=twin).plan(*case), *case)
        assert worth == max(twin.utility(plan, *case) for plan in candidates(*case))
        assert worth >= twin.utility(plan_cell(*case), *case)


def test_candidates_are_feasible_and_have_a_pool_of_both_schedulers() -> None:
    for case in CASES:
        plans = tuple(candidates(*case))
        assert all(plan.is_within_budget for plan in plans)
        pools = {plan.slices[0].scheduler for plan in plans if is_pool((plan,)).all()}
        assert pools == {Scheduler.PROPORTIONAL_FAIR, Scheduler.EARLIEST_DEADLINE_FIRST}
        assert plans[0] == plan_cell(*case)


def test_prompts_tell_how_far_each_kind_of_plan_falls_behind_the_best() -> None:
    for case in CASES:
        foresight = Expert().foresee(*case)
        lags = foresight.lags
        told = dict(zip(foresight.plans, (lags.split[0], *_by_scheduler(lags)), strict=True))
        best = foresight.outlook.utility(foresight.best)
        for plan, lag in told.items():
            assert abs(best - foresight.outlook.utility(plan) - lag) < 1e-12
        assert told[foresight.best] == 0
        pools = [plan for plan in foresight.plans if is_pool((plan,)).all()]
        even = [plan for plan in foresight.plans[1:] if np.ptp(shares_of((plan,))) <= 1 and plan not in pools]
        assert [told[plan] for plan in pools] == [*lags.pool]
        assert [told[plan] for plan in even] == [*lags.even]
        assert [plan.slices[0].scheduler.value for plan in pools] == ["pf", "edf"]
        line = foresight.prompt.text.splitlines()[-2]
        numbers = [int(number) for number in re.findall(r"\d+", line)]
        assert numbers == [round(1000 * lag) for lag in (*lags.split, *lags.pool, *lags.even)]


def _by_scheduler(lags: Lags) -> tuple[float, ...]:
    """In the order of `candidates`: split, pool and even ones under PF, then under EDF."""
    return tuple(kind for kinds in zip(lags.split[1:], lags.pool, lags.even, strict=True) for kind in kinds)
