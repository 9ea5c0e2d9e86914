"""How near a model's raw plans come to the optimiser's on held-out static instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.baselines import proportional, uniform, weighted_need
from agent.cell_plan import CellPlan
from agent.expert import Expert
from agent.goal import GoalTerms
from agent.models.port import PolicyModel
from agent.optimiser import plan_cell
from agent.pretraining.examples import random_digest, random_terms
from agent.prompting import Prompt, parse_answer, write_prompt
from agent.utility import demand_factors, expected_load, in_time_fraction, lend_idle, slice_worth
from edge_preprocess.digest import EdgeDigest

_BATCH = 16
LEAST_WORTH = 0.1
"""Where floors can't be met the optimum is worth about nothing or less, and a ratio to it says nothing."""

Case = tuple[EdgeDigest, GoalTerms]


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticScore:
    """Radio worth of raw plans on static instances, all relative to what the optimiser finds.

    Ratios leave out instances whose floors can't be met; the gap closed does not.
    """

    num_instances: int
    ratio_mean: float
    ratio_p1: float
    gap_closed_mean: float
    """(U - U_uniform) / (U_optimum - U_uniform), mean over instances where the split matters."""
    gap_closed_p5: float
    share_error_pct: float
    """Mean absolute difference of a share from the optimum's."""
    uniform_ratio: float
    proportional_ratio: float
    heuristic_ratio: float


def score_static(model: PolicyModel, num_instances: int, *, seed: int) -> StaticScore:
    """Ask the model about `num_instances` random digests of a seed apart from training."""
    cases = static_cases(num_instances, seed=seed)
    return compare_plans(cases, raw_plans(model, cases))


def static_cases(num_instances: int, *, seed: int) -> tuple[Case, ...]:
    """Random digests with random goals; the same seed gives the same cases."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    digests = (random_digest(rng) for _ in range(num_instances))
    return tuple((digest, random_terms(rng, digest)) for digest in digests)


def raw_plans(model: PolicyModel, cases: Sequence[Case], expert: Expert | None = None) -> tuple[CellPlan, ...]:
    """The model's own plans, unrepaired; it is told what the expert's twin foresees where there is an expert."""
    if expert is None:
        return answered(model, [write_prompt(*case) for case in cases])
    return answered(model, [expert.foresee(*case).prompt for case in cases])


def answered(model: PolicyModel, prompts: Sequence[Prompt]) -> tuple[CellPlan, ...]:
    """The plans that the model answers these prompts with."""
    plans: list[CellPlan] = []
    for start in range(0, len(prompts), _BATCH):
        batch = tuple(prompts[start : start + _BATCH])
        plans += [parse_answer(answer.text, prompt) for answer, prompt in zip(model.answer(batch), batch, strict=True)]
    return tuple(plans)


def radio_worth(plan: CellPlan, digest: EdgeDigest, terms: GoalTerms) -> float:
    """Worth of a plan's PRB shares as the optimiser reckons it: idle guarantees lent, five demands; at most 1.

    A computing slice counts by half, since its tasks hold the other half.
    """
    load = expected_load(digest, terms)
    shares = np.array([float(part.min_pct) for part in plan.slices])
    service = load.packets_per_s_full * lend_idle(shares, load.load_pct) / 100.0
    none = np.zeros(len(shares))
    ratio = in_time_fraction(load.packets_per_s * demand_factors(load.spread), service, load.budget_s)
    part = np.where(load.tasks_per_s > 0, 0.5, 1.0)
    most = part * slice_worth(np.ones_like(none), none, none, terms)
    return float((part * slice_worth(ratio, none, none, terms)).sum(axis=-1).mean() / most.sum())


def compare_plans(cases: Sequence[Case], plans: Sequence[CellPlan]) -> StaticScore:
    """Plans against the optimiser's in each case, with simple planners beside them."""
    best = [plan_cell(d, t) for d, t in cases]
    worth = {
        "model": np.array([radio_worth(p, d, t) for p, (d, t) in zip(plans, cases, strict=True)]),
        "optimum": np.array([radio_worth(p, d, t) for p, (d, t) in zip(best, cases, strict=True)]),
    } | {
        f.__name__: np.array([radio_worth(f(d, t), d, t) for d, t in cases])
        for f in (uniform, proportional, weighted_need)
    }
    gap = worth["optimum"] - worth["uniform"]
    matters = gap > 0.005
    closed = (worth["model"] - worth["uniform"])[matters] / gap[matters]
    counts = worth["optimum"] >= LEAST_WORTH
    ratio = {name: values[counts] / worth["optimum"][counts] for name, values in worth.items()}
    errors = [
        abs(mine.min_pct - exact.min_pct)
        for plan, optimum in zip(plans, best, strict=True)
        for mine, exact in zip(plan.slices, optimum.slices, strict=True)
    ]
    return StaticScore(
        num_instances=len(cases),
        ratio_mean=float(ratio["model"].mean()),
        ratio_p1=float(np.percentile(ratio["model"], 1)),
        gap_closed_mean=float(closed.mean()),
        gap_closed_p5=float(np.percentile(closed, 5)),
        share_error_pct=float(np.mean(errors)),
        uniform_ratio=float(ratio["uniform"].mean()),
        proportional_ratio=float(ratio["proportional"].mean()),
        heuristic_ratio=float(ratio["weighted_need"].mean()),
    )
