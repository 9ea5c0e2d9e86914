"""Corpora from simulated sites: what the loop saw there, with the expert's plan as the answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from agent.bootstrap import build_loop, build_network
from agent.cell_plan import CellPlan
from agent.errors import AgentInputInvalid
from agent.expert import Expert
from agent.goal import GoalTerms, PerSlice
from agent.optimiser import plan_cell
from agent.planner import FormulaPlanner
from agent.pretraining.examples import Example, random_terms
from agent.prompting import write_answer, write_prompt
from edge_preprocess.digest import EdgeDigest

_DEMAND_SPREAD = 0.5
"""Of the logarithm of the factors on a digest's forecasts."""
FIRST_TRAINING_SEED = 100_000
"""Seeds from here on are for training; `run` and `bench` stay below."""

_TRIALS = 600_000


def refuse_training_seeds(last_seed: int) -> None:
    """Raise AgentInputInvalid where a comparison would reach into the seeds that models are trained on."""
    if last_seed >= FIRST_TRAINING_SEED:
        raise AgentInputInvalid(
            f"seed {last_seed} is kept for training; the seeds of a comparison lie below {FIRST_TRAINING_SEED}"
        )


def first_trial_seed(seed: int) -> int:
    """Of the runs that a twin is fitted to; those of corpora lie below."""
    return FIRST_TRAINING_SEED + _TRIALS + 1000 * seed


def scenario_examples(
    scenario: str, *, num_intervals: int, seed: int, num_devices: int | None = None, variants: int = 4
) -> Iterator[Example]:
    """The cases of one run, each with the expert's plan as the answer."""
    expert = Expert()
    cases = scenario_cases(scenario, num_intervals=num_intervals, seed=seed, num_devices=num_devices, variants=variants)
    for digest, terms in cases:
        prompt = write_prompt(digest, terms)
        yield Example(prompt=prompt.text, completion=write_answer(expert.plan(digest, terms), prompt.order))


def scenario_cases(
    scenario: str, *, num_intervals: int, seed: int, num_devices: int | None = None, variants: int = 4
) -> Iterator[tuple[EdgeDigest, GoalTerms]]:
    """Cases of one run: each digest with the scenario's own goal, then with other demands and other goals.

    A variant holds one kind of goal; how several kinds together read is left for a model to work out.

    The run follows the expert half of the time and noisy plans otherwise, so that digests of bad states occur.
    """
    rng = np.random.default_rng(np.random.SeedSequence((seed, 1)))
    expert = Expert()
    planner = FormulaPlanner(name="teacher", formula=lambda d, t: _followed(expert, d, t, rng))
    loop = build_loop(build_network(scenario, seed=seed, num_devices=num_devices), planner)
    for _ in range(num_intervals):
        turn = loop.turn()
        if turn is None:
            return
        for digest, terms in zip(turn.digests, turn.terms, strict=True):
            yield digest, terms
            for _ in range(variants - 1):
                other = _other_demand(rng, digest)
                yield other, other_terms(rng, other, terms)


def _other_demand(rng: np.random.Generator, digest: EdgeDigest) -> EdgeDigest:
    """Half of the time the digest itself, else one whose forecasts are up to several times as much or as little."""
    if rng.random() < 0.5:
        return digest
    factors = np.exp(rng.normal(0.0, _DEMAND_SPREAD, len(digest.slices)))
    rows = tuple(
        row.model_copy(
            update={
                "forecast_demand_kbps": row.forecast_demand_kbps * factor,
                "forecast_deviation_kbps": row.forecast_deviation_kbps * factor,
            }
        )
        for row, factor in zip(digest.slices, map(float, factors), strict=True)
    )
    return digest.model_copy(update={"slices": rows})


def other_terms(rng: np.random.Generator, digest: EdgeDigest, terms: GoalTerms) -> GoalTerms:
    """The site's targets with one kind of goal: random weights and floors, a priority, a delay, a cap, or its own."""
    one = int(rng.integers(len(digest.slices)))
    match int(rng.integers(6)):
        case 0:
            return terms
        case 1:
            return replace(terms, weight=_scaled(terms.weight, one, 10.0 ** rng.uniform(-1.0, 1.0)))
        case 2:
            return replace(terms, delay_budget_ms=_scaled(terms.delay_budget_ms, one, rng.uniform(0.2, 1.0)))
        case 3:
            each_mbps = digest.slices[one].forecast_demand_kbps / 1000.0 / max(digest.slices[one].num_devices, 1)
            cap_mbps = terms.ue_rate_cap_mbps.copy()
            cap_mbps[one] = max(each_mbps * rng.uniform(0.3, 1.2), 1e-3)
            return replace(terms, ue_rate_cap_mbps=cap_mbps)
        case _:
            random = random_terms(rng, digest)
            return replace(random, target=terms.target, delay_budget_ms=terms.delay_budget_ms)


def _scaled(column: PerSlice, row: int, factor: float) -> PerSlice:
    scaled = column.copy()
    scaled[row] *= factor
    return scaled


def _followed(expert: Expert, digest: EdgeDigest, terms: GoalTerms, rng: np.random.Generator) -> CellPlan:
    if rng.random() < 0.5:
        return expert.plan(digest, terms)
    plan = plan_cell(digest, terms)
    shares = rng.multinomial(100, rng.dirichlet(1.0 + np.array([part.min_pct for part in plan.slices]) / 10.0))
    rows = tuple(replace(part, min_pct=int(share)) for part, share in zip(plan.slices, shares, strict=True))
    return replace(plan, slices=rows)
