"""Static scores: the yardstick itself is checked before a model is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agent.baselines import uniform
from agent.optimiser import plan_cell
from agent.pretraining.evaluation import compare_plans, radio_worth, static_cases

CASES = static_cases(60, seed=4)


def test_the_optimums_own_plans_close_the_whole_gap() -> None:
    score = compare_plans(CASES, [plan_cell(*case) for case in CASES])

    assert (score.ratio_mean, score.gap_closed_mean, score.share_error_pct) == (1.0, 1.0, 0.0)
    assert score.heuristic_ratio < 1.0


def test_uniform_plans_close_none_of_it() -> None:
    score = compare_plans(CASES, [uniform(*case) for case in CASES])

    assert score.gap_closed_mean == pytest.approx(0.0)
    assert score.ratio_mean == pytest.approx(score.uniform_ratio)


def test_no_random_split_is_worth_more_than_the_optimum() -> None:
    rng = np.random.default_rng(8)
    for digest, terms in CASES:
        best = plan_cell(digest, terms)
        for _ in range(20):
            shares = rng.multinomial(100, rng.dirichlet(np.ones(len(best.slices))))
            rows = tuple(replace(part, min_pct=int(share)) for part, share in zip(best.slices, shares, strict=True))
            assert radio_worth(replace(best, slices=rows), digest, terms) <= radio_worth(best, digest, terms) + 1e-3
