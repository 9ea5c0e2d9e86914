"""The expert: never behind the optimiser in the twin, pools among its candidates."""

from __future__ import annotations

from agent.expert import Expert, candidates
from agent.optimiser import plan_cell
from agent.pretraining.evaluation import static_cases
from agent.twin import Twin
from agent.twin_features import is_pool
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
