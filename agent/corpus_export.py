"""Corpora from simulated sites: what the loop saw there, with the optimiser's plan as the answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from agent.bootstrap import build_loop, build_network
from agent.cell_plan import CellPlan
from agent.errors import AgentInputInvalid
from agent.goal import GoalTerms
from agent.optimiser import plan_cell
from agent.planner import FormulaPlanner
from agent.pretraining.examples import Example, random_terms
from agent.prompting import write_answer, write_prompt
from edge_preprocess.digest import EdgeDigest

FIRST_TRAINING_SEED = 100_000
"""Seeds from here on are for training; `run` and `bench` stay below."""


def refuse_training_seeds(last_seed: int) -> None:
    """Raise AgentInputInvalid where a comparison would reach into the seeds that models are trained on."""
    if last_seed >= FIRST_TRAINING_SEED:
        raise AgentInputInvalid(
            f"seed {last_seed} is kept for training; the seeds of a comparison lie below {FIRST_TRAINING_SEED}"
        )


def scenario_examples(
    scenario: str, *, num_intervals: int, seed: int, num_devices: int | None = None, variants: int = 4
) -> Iterator[Example]:
    """Examples of one run: each digest with the scenario's own goal, then with random goals and slice orders.

    The run follows the optimiser half of the time and noisy plans otherwise, so that digests of bad states occur.
    """
    rng = np.random.default_rng(np.random.SeedSequence((seed, 1)))
    planner = FormulaPlanner(name="teacher", formula=lambda d, t: _sometimes_noisy(plan_cell(d, t), rng))
    loop = build_loop(build_network(scenario, seed=seed, num_devices=num_devices), planner)
    for _ in range(num_intervals):
        turn = loop.turn()
        if turn is None:
            return
        for digest, terms in zip(turn.digests, turn.terms, strict=True):
            yield _example(digest, terms)
            for _ in range(variants - 1):
                yield _example(*_shuffled(digest, _other_terms(rng, digest, terms), rng))


def _example(digest: EdgeDigest, terms: GoalTerms) -> Example:
    prompt = write_prompt(digest, terms)
    return Example(prompt=prompt.text, completion=write_answer(plan_cell(digest, terms), prompt.order))


def _other_terms(rng: np.random.Generator, digest: EdgeDigest, terms: GoalTerms) -> GoalTerms:
    """Half of the time the site's own terms, else random weights and floors on the site's budgets and targets."""
    if rng.random() < 0.5:
        return terms
    return replace(random_terms(rng, digest), target=terms.target)


def _shuffled(digest: EdgeDigest, terms: GoalTerms, rng: np.random.Generator) -> tuple[EdgeDigest, GoalTerms]:
    order = rng.permutation(len(digest.slices))
    moved = replace(
        terms,
        weight=terms.weight[order],
        floor=terms.floor[order],
        target=terms.target[order],
        delay_budget_ms=terms.delay_budget_ms[order],
        ue_rate_cap_mbps=terms.ue_rate_cap_mbps[order],
    )
    return digest.model_copy(update={"slices": tuple(digest.slices[i] for i in order)}), moved


def _sometimes_noisy(plan: CellPlan, rng: np.random.Generator) -> CellPlan:
    if rng.random() < 0.5:
        return plan
    shares = rng.multinomial(100, rng.dirichlet(1.0 + np.array([part.min_pct for part in plan.slices]) / 10.0))
    rows = tuple(replace(part, min_pct=int(share)) for part, share in zip(plan.slices, shares, strict=True))
    return replace(plan, slices=rows)
