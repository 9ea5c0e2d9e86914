"""What every planner owes, with a model or without."""

from __future__ import annotations

import pytest

from agent.control_loop import initial_plan
from agent.planner import (
    CellDecision,
    GatedModelPlanner,
    Planner,
    RawModelPlanner,
    Source,
    baseline_planners,
)
from tests.agent_stage import ScriptedModel, UnreachableModel, random_case, untrained_model

PLANNERS: dict[str, Planner] = {planner.name: planner for planner in baseline_planners()} | {
    "llm_raw, untrained": RawModelPlanner(model=untrained_model(1)),
    "llm_gated, untrained": GatedModelPlanner(model=untrained_model(1)),
    "llm_gated, away": GatedModelPlanner(model=UnreachableModel()),
    "llm_raw, babbling": RawModelPlanner(model=ScriptedModel("{")),
}
CASES = [random_case(seed) for seed in range(6)]


@pytest.fixture(params=list(PLANNERS))
def planner(request: pytest.FixtureRequest) -> Planner:
    return PLANNERS[request.param]


def decide(planner: Planner) -> tuple[CellDecision, ...]:
    digests, terms = zip(*CASES, strict=True)
    return planner.decide(digests, terms, [initial_plan(d.cell, len(d.slices)) for d in digests]).cells


def test_there_is_one_decision_per_digest_in_order(planner: Planner) -> None:
    cells = decide(planner)

    assert [cell.cell for cell in cells] == [digest.cell for digest, _ in CASES]
    assert all((cell.plan is None) == (cell.source is Source.NONE) for cell in cells)


def test_every_plan_fits_the_budget_and_its_cell(planner: Planner) -> None:
    for cell, (digest, _) in zip(decide(planner), CASES, strict=True):
        if cell.plan is not None:
            assert cell.plan.is_within_budget
            assert len(cell.plan.slices) == len(digest.slices)
            assert all(part.min_pct >= 0 and part.compute_pct >= 0 for part in cell.plan.slices)


def test_equal_questions_get_equal_decisions(planner: Planner) -> None:
    assert decide(planner) == decide(planner)


def test_nothing_to_decide_is_no_decision(planner: Planner) -> None:
    assert planner.decide([], [], []).cells == ()


def test_planners_have_names_of_their_own() -> None:
    names = [planner.name for planner in baseline_planners()]

    assert len(set(names)) == len(names)
    assert {"do_nothing", "uniform", "proportional", "proportional_fair", "edf", "optimiser"} <= set(names)
