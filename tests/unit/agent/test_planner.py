"""Model planners: raw answers as they are, gated ones behind projection and twin, fallbacks counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from agent.bootstrap import AbsentModel
from agent.cell_plan import CellPlan, SlicePlan
from agent.control_loop import initial_plan
from agent.expert import Expert
from agent.goal import GoalTerms
from agent.guardrails import GuardRails
from agent.models.port import PolicyModel
from agent.planner import CellDecision, GatedModelPlanner, RawModelPlanner, Source
from agent.pretraining.evaluation import radio_worth
from agent.prompting import write_answer
from agent.twin import Twin
from edge_preprocess.digest import EdgeDigest
from tests.agent_stage import AnsweringModel, ScriptedModel, UnreachableModel, random_case

CASES = [random_case(seed, num_slices=4) for seed in range(4)]
DIGESTS = [digest for digest, _ in CASES]
TERMS = [terms for _, terms in CASES]
NOW = [initial_plan(1, 4) for _ in CASES]


def model_with(plans: Sequence[CellPlan]) -> PolicyModel:
    prompts = [Expert().foresee(digest, terms).prompt for digest, terms in CASES]
    return AnsweringModel(
        {prompt.text: write_answer(plan, prompt.order) for prompt, plan in zip(prompts, plans, strict=True)}
    )


def gated(model: PolicyModel, rails: GuardRails | None = None) -> tuple[CellDecision, ...]:
    planner = GatedModelPlanner(model=model, rails=rails or GuardRails())
    return planner.decide(DIGESTS, TERMS, NOW).cells


def best(digest: EdgeDigest, terms: GoalTerms) -> CellPlan:
    """What stands behind the model: the expert's plan, or what is in force where the twin puts that first."""
    plans = (Expert().plan(digest, terms), initial_plan(1, 4))
    return max(plans, key=Twin().outlook(digest, terms).utility)


def starving(digest: EdgeDigest, terms: GoalTerms) -> CellPlan:
    """The slice that gives least for it gets everything."""
    worst = [
        CellPlan(cell=1, slices=tuple(SlicePlan(min_pct=100 * (row == chosen)) for row in range(4)))
        for chosen in range(4)
    ]
    return min(worst, key=lambda plan: radio_worth(plan, digest, terms))


def all_sources(cells: Sequence[CellDecision]) -> set[Source]:
    return {cell.source for cell in cells}


@pytest.mark.parametrize("model", [AbsentModel("no weights"), UnreachableModel()])
def test_an_absent_model_falls_back_and_says_why(model: PolicyModel) -> None:
    cells = gated(model)

    assert all_sources(cells) == {Source.FALLBACK}
    assert not any(cell.is_valid for cell in cells)
    assert all(cell.note and cell.prompt and cell.plan is not None for cell in cells)


@pytest.mark.parametrize("text", ["", "nonsense", "{}", '{"1":{}}', "[1]", "\x00", "[" * 5000])
def test_a_nonsense_answer_falls_back_and_keeps_its_evidence(text: str) -> None:
    cells = gated(ScriptedModel(text))

    assert all_sources(cells) == {Source.FALLBACK}
    assert not any(cell.is_valid for cell in cells)
    assert all(cell.answer == text and "answer" in cell.note for cell in cells)


def test_an_answer_beyond_the_budget_falls_back_though_it_is_valid() -> None:
    greedy = CellPlan(cell=1, slices=(SlicePlan(min_pct=60),) * 4)
    cells = gated(ScriptedModel(write_answer(greedy)))

    assert all_sources(cells) == {Source.FALLBACK}
    assert all(cell.is_valid and cell.note == "shares exceed the budget" for cell in cells)


def test_an_answer_the_twin_finds_worse_falls_back_to_the_best_at_hand() -> None:
    cells = gated(model_with([starving(*case) for case in CASES]))

    assert all_sources(cells) == {Source.FALLBACK}
    assert all("the twin puts the model's plan at" in cell.note for cell in cells)
    assert [cell.plan for cell in cells] == [best(*case) for case in CASES]


def test_an_answer_as_good_as_the_experts_is_the_models_own() -> None:
    plans = [best(*case) for case in CASES]
    cells = gated(model_with(plans))

    assert all_sources(cells) == {Source.MODEL}
    assert [cell.plan for cell in cells] == plans
    for cell in cells:
        assert cell.twin_utility is not None
        assert cell.twin_alternative is not None
        assert cell.twin_utility >= cell.twin_alternative - 0.03
        assert len(cell.expected_in_time or ()) == 4


def test_a_plan_that_moves_too_fast_is_repaired_and_named_so() -> None:
    cells = gated(model_with([best(*case) for case in CASES]), GuardRails(max_change_pct=1))

    assert all_sources(cells) <= {Source.REPAIRED, Source.FALLBACK, Source.MODEL}
    for cell in cells:
        assert cell.plan is not None
        assert all(abs(part.min_pct - 25) <= 1 for part in cell.plan.slices)
        assert (cell.source is Source.REPAIRED) == ("share_change" in cell.repairs)
    assert Source.REPAIRED in all_sources(cells)


def test_a_raw_answer_beyond_the_budget_is_no_plan() -> None:
    greedy = ScriptedModel(write_answer(CellPlan(cell=1, slices=(SlicePlan(min_pct=60),) * 4)))
    cells = RawModelPlanner(model=greedy).decide(DIGESTS, TERMS, NOW).cells

    assert all_sources(cells) == {Source.NONE}
    assert all(cell.plan is None and cell.is_valid for cell in cells)


def test_a_raw_answer_is_dispatched_however_bad_it_is() -> None:
    plans = [starving(*case) for case in CASES]
    cells = RawModelPlanner(model=model_with(plans)).decide(DIGESTS, TERMS, NOW).cells

    assert all_sources(cells) == {Source.MODEL}
    assert [cell.plan for cell in cells] == plans


def test_raw_nonsense_is_no_plan_and_not_valid() -> None:
    cells = RawModelPlanner(model=ScriptedModel("nonsense")).decide(DIGESTS, TERMS, NOW).cells

    assert all(cell.plan is None and not cell.is_valid for cell in cells)


def test_a_decision_depends_on_no_hidden_state() -> None:
    planner = GatedModelPlanner(model=model_with([starving(*case) for case in CASES]))
    first = planner.decide(DIGESTS, TERMS, NOW)
    np.random.default_rng().random()
    second = planner.decide(list(DIGESTS), list(TERMS), list(NOW))

    assert replace(first, elapsed_s=0.0) == replace(second, elapsed_s=0.0)
