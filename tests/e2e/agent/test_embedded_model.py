"""The shipped policy model: valid whatever it reads, and it reads what it is given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agent.bootstrap import EMBEDDED_WEIGHTS, load_model
from agent.goal import GoalTerms
from agent.models.port import PolicyModel
from agent.optimiser import plan_cell
from agent.prompting import parse_answer, write_prompt
from edge_preprocess.digest import EdgeDigest
from tests.agent_stage import random_case

TOLERANCE_PCT = 5
"""Points that a swapped share may lie from where it should be."""
_FIRST_SEED = 7_000


@pytest.fixture(scope="module")
def model() -> PolicyModel:
    """The embedded model; skips where its weights were not built."""
    if not (EMBEDDED_WEIGHTS / "config.json").is_file():
        pytest.skip(f"no weights at {EMBEDDED_WEIGHTS}; `make model` builds them")
    return load_model()


def swapped(digest: EdgeDigest, terms: GoalTerms) -> tuple[EdgeDigest, GoalTerms]:
    """The same cell with its first two slices' demands, and all that goes with them, changed over."""
    order = [1, 0, *range(2, len(digest.slices))]
    columns = ("weight", "floor", "target", "delay_budget_ms", "ue_rate_cap_mbps")
    moved = {name: getattr(terms, name)[order] for name in columns}
    return digest.model_copy(update={"slices": tuple(digest.slices[at] for at in order)}), replace(terms, **moved)


def shares(model: PolicyModel, cases: list[tuple[EdgeDigest, GoalTerms]]) -> list[list[int]]:
    prompts = [write_prompt(*case) for case in cases]
    answers = model.answer(prompts)
    plans = [parse_answer(answer.text, prompt) for answer, prompt in zip(answers, prompts, strict=True)]
    assert all(plan.is_within_budget for plan in plans)
    return [[part.min_pct for part in plan.slices] for plan in plans]


def test_every_answer_is_valid_and_within_budget(model: PolicyModel) -> None:
    cases = [random_case(_FIRST_SEED + seed) for seed in range(50)]

    assert [len(row) for row in shares(model, cases)] == [len(digest.slices) for digest, _ in cases]


def test_swapping_two_slices_demands_swaps_their_shares(model: PolicyModel) -> None:
    cases = [random_case(_FIRST_SEED + 100 + seed, num_slices=4) for seed in range(20)]
    before = np.array(shares(model, cases))
    after = np.array(shares(model, [swapped(*case) for case in cases]))
    distance = abs(after[:, [1, 0]] - before[:, [0, 1]]).max(axis=1)
    # Where the two shares are alike to begin with, staying put would pass too; those digests prove nothing.
    tells = abs(before[:, 0] - before[:, 1]) > 2 * TOLERANCE_PCT

    assert tells.sum() >= 8
    assert (distance[tells] <= TOLERANCE_PCT).mean() >= 0.9


def test_power_steps_are_those_of_the_teacher(model: PolicyModel) -> None:
    cases = [random_case(seed) for seed in range(24)]
    prompts = tuple(write_prompt(*case) for case in cases)
    answers = model.answer(prompts)
    steps = [parse_answer(a.text, p).tx_power_step_db for a, p in zip(answers, prompts, strict=True)]
    wanted = [plan_cell(*case).tx_power_step_db for case in cases]

    assert {0, -3} <= set(wanted)
    assert np.mean(np.array(steps) == wanted) >= 0.9
