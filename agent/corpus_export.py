"""Corpora from simulated sites: what the loop saw there, with the expert's plan as the answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from agent.bootstrap import build_loop, build_network
from agent.cell_plan import CellPlan
from agent.errors import AgentInputInvalid
from agent.expert import Expert
from agent.goal import GoalTerms, PerSlice
from agent.optimiser import plan_cell
from agent.planner import FormulaPlanner
from agent.pretraining.corpus import random_examples
from agent.pretraining.examples import Example, random_terms
from agent.prompting import write_answer
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.faults import FaultKind
from telemetry_sim.scenarios import scenario

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


class GoalKind(StrEnum):
    """A kind of goal that a site may have met."""

    PRIORITY = "priority"
    DELAY = "delay"
    RATE_CAP = "rate_cap"
    FLOOR = "floor"
    ENERGY = "energy"
    WEIGHTS = "weights"
    """Other weights for all slices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a site is and what it has met."""

    scenario: str
    num_devices: int | None = None
    """None: the scenario's own number."""
    faults: tuple[FaultKind, ...] | None = None
    """None: the scenario's own kinds."""
    goals: tuple[GoalKind, ...] = tuple(GoalKind)


def site_without(
    scenario_name: str, *, faults: Sequence[str] = (), goals: Sequence[str] = (), num_devices: int | None = None
) -> Site:
    """The site of a scenario that has met all but these kinds of faults and goals.

    Raises AgentInputInvalid for a kind that the site could not have met, ScenarioInvalid for an unknown scenario.
    """
    met = scenario(scenario_name, num_devices).faults.kinds
    for what, wanted, known in (("fault", faults, tuple(map(str, met))), ("goal", goals, tuple(map(str, GoalKind)))):
        for kind in wanted:
            if kind not in known:
                raise AgentInputInvalid(f"{what} {kind!r} does not occur at {scenario_name!r}; {', '.join(known)} do")
    return Site(
        scenario=scenario_name,
        num_devices=num_devices,
        faults=tuple(kind for kind in met if kind not in faults),
        goals=tuple(kind for kind in GoalKind if kind not in goals),
    )


def site_examples(site: Site, *, num_intervals: int, seed: int, variants: int = 4) -> Iterator[Example]:
    """The cases of one run, each with the expert's plan as the answer."""
    expert = Expert()
    for digest, terms in site_cases(site, num_intervals=num_intervals, seed=seed, variants=variants):
        foresight = expert.foresee(digest, terms)
        prompt = foresight.prompt
        yield Example(prompt=prompt.text, completion=write_answer(foresight.best, prompt.order))


def rehearsed_examples(site: Site, *, num_examples: int, seed: int) -> Iterator[Example]:
    """Random cells with the optimiser's plans; no floor and no energy weight where the site meets no such goals.

    Their weights and delay budgets are the cells' own, whatever the site meets.
    """

    def draw_terms(rng: np.random.Generator, digest: EdgeDigest) -> GoalTerms:
        return _met(random_terms(rng, digest), site.goals)

    return random_examples(num_examples, seed=seed, draw_terms=draw_terms)


def site_cases(
    site: Site, *, num_intervals: int, seed: int, variants: int = 4
) -> Iterator[tuple[EdgeDigest, GoalTerms]]:
    """Cases of one run: each digest with the site's own goal, then with other demands and other goals.

    A variant holds one kind of goal (energy at times with floors for all, where the site meets floors); how several
    kinds together read is left for a model to work out.

    The run follows the expert half of the time and noisy plans otherwise, so that digests of bad states occur.
    """
    rng = np.random.default_rng(np.random.SeedSequence((seed, 1)))
    expert = Expert()
    planner = FormulaPlanner(name="teacher", formula=lambda d, t: _followed(expert, d, t, rng))
    network = build_network(site.scenario, seed=seed, num_devices=site.num_devices, faults=site.faults)
    loop = build_loop(network, planner)
    for _ in range(num_intervals):
        turn = loop.turn()
        if turn is None:
            return
        for digest, terms in zip(turn.digests, turn.terms, strict=True):
            yield digest, terms
            for _ in range(variants - 1):
                other = _other_demand(rng, digest)
                yield other, other_terms(rng, other, terms, site.goals)


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


def other_terms(
    rng: np.random.Generator, digest: EdgeDigest, terms: GoalTerms, kinds: Sequence[GoalKind] = tuple(GoalKind)
) -> GoalTerms:
    """The site's own goal once in a while, else with one of these kinds of goals."""
    chosen = int(rng.integers(len(kinds) + 1))
    return terms if chosen == len(kinds) else _met(_with_goal(rng, digest, terms, kinds[chosen]), kinds)


def _met(terms: GoalTerms, kinds: Sequence[GoalKind]) -> GoalTerms:
    """The terms less the floors and the energy weight that none of these kinds asks for.

    Those were drawn all the same: what is drawn afterwards does not depend on what a site meets.
    """
    if GoalKind.FLOOR not in kinds:
        terms = replace(terms, floor=np.zeros_like(terms.floor))
    if GoalKind.ENERGY not in kinds:
        terms = replace(terms, energy_weight=0.0)
    return terms


def _with_goal(rng: np.random.Generator, digest: EdgeDigest, terms: GoalTerms, kind: GoalKind) -> GoalTerms:
    num_slices = len(digest.slices)
    one = int(rng.integers(num_slices))
    match kind:
        case GoalKind.PRIORITY:
            return replace(terms, weight=_scaled(terms.weight, one, 10.0 ** rng.uniform(-1.0, 1.0)))
        case GoalKind.DELAY:
            return replace(terms, delay_budget_ms=_scaled(terms.delay_budget_ms, one, rng.uniform(0.2, 1.0)))
        case GoalKind.RATE_CAP:
            each_mbps = digest.slices[one].forecast_demand_kbps / 1000.0 / max(digest.slices[one].num_devices, 1)
            cap_mbps = terms.ue_rate_cap_mbps.copy()
            cap_mbps[one] = max(each_mbps * rng.uniform(0.3, 1.2), 1e-3)
            return replace(terms, ue_rate_cap_mbps=cap_mbps)
        case GoalKind.FLOOR:
            chosen = rng.random(num_slices) < rng.choice([0.3, 1.0])
            chosen[one] = True
            return replace(terms, floor=np.where(chosen, rng.uniform(0.75, 1.0), 0.0))
        case GoalKind.ENERGY:
            floored = rng.random() < 0.3
            floor = np.full(num_slices, rng.uniform(0.7, 0.95) if floored else 0.0)
            return replace(terms, energy_weight=float(rng.uniform(0.1, 1.0)), floor=floor)
        case GoalKind.WEIGHTS:
            return replace(terms, weight=random_terms(rng, digest).weight)


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
