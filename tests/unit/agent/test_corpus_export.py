"""Corpora of simulated sites: training seeds only, and rows that read back as the plans they teach."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from agent.commands.run import run
from agent.corpus_export import (
    FIRST_TRAINING_SEED,
    GoalKind,
    Site,
    other_terms,
    refuse_training_seeds,
    rehearsed_examples,
    site_examples,
    site_without,
)
from agent.errors import AgentInputInvalid
from agent.goal import GoalTerms
from agent.policy_bench import BenchPlan
from agent.pretraining.corpus import random_examples
from agent.pretraining.examples import Example
from agent.prompting import Prompt, parse_answer, write_answer
from telemetry_sim.scenarios import scenario
from tests.agent_stage import random_case

SITE = "smart-home"
TOPOLOGY = scenario(SITE, 12).topology


def examples(seed: int = FIRST_TRAINING_SEED, *, variants: int = 3) -> list[Example]:
    return list(site_examples(Site(scenario=SITE, num_devices=12), num_intervals=3, seed=seed, variants=variants))


def test_there_is_a_row_for_each_cell_interval_and_variant() -> None:
    assert len(examples(variants=3)) == 3 * 3 * len(TOPOLOGY.cells)
    assert len(examples(variants=1)) == 3 * len(TOPOLOGY.cells)


def slice_lines(example: Example) -> list[str]:
    return [line for line in example.prompt.splitlines() if line.startswith("slice=")]


def test_rows_read_back_as_plans_within_the_budget() -> None:
    for example in examples():
        num_slices = len(slice_lines(example))
        prompt = Prompt(cell=1, text=example.prompt, num_slices=num_slices)
        plan = parse_answer(example.completion, prompt)

        assert num_slices == len(TOPOLOGY.slices)
        assert plan.is_within_budget
        assert write_answer(plan) == example.completion


def test_the_first_variant_holds_the_sites_own_goal() -> None:
    weights = sorted((profile.weight for profile in TOPOLOGY.slices), reverse=True)
    shown = [round(100 * weight / sum(weights)) for weight in weights]

    for example in examples(variants=3)[::3]:
        lines = slice_lines(example)
        assert sorted((int(line.split(" w=")[1].split()[0]) for line in lines), reverse=True) == shown


def test_a_seed_names_its_corpus() -> None:
    assert examples() == examples()
    assert examples() != examples(FIRST_TRAINING_SEED + 1)


def test_rows_come_as_they_are_asked_for() -> None:
    endless = site_examples(Site(scenario=SITE, num_devices=12), num_intervals=10_000, seed=FIRST_TRAINING_SEED)

    assert len(list(islice(endless, 5))) == 5


def test_comparisons_stay_below_the_training_seeds(tmp_path: Path) -> None:
    assert FIRST_TRAINING_SEED == 100_000
    refuse_training_seeds(99_999)
    with pytest.raises(AgentInputInvalid, match="seed 100000 is kept for training"):
        refuse_training_seeds(100_000)
    with pytest.raises(AgentInputInvalid, match="seed 100001 is kept for training"):
        BenchPlan.make(num_episodes=1003, num_intervals=2, scenarios=(SITE,), first_seed=98_999)

    arguments = ["--planner", "uniform", "--seed", "99999", "--seeds", "2", "--out", str(tmp_path / "report")]
    with pytest.raises(AgentInputInvalid, match="seed 100000 is kept for training"):
        CliRunner().invoke(run, arguments, catch_exceptions=False)
    assert not (tmp_path / "report").exists()


def test_episodes_are_dealt_over_the_scenarios_in_turn() -> None:
    plan = BenchPlan.make(num_episodes=5, num_intervals=2, scenarios=("smart-home", "ehealth"), first_seed=1000)

    assert plan.cases == (
        ("smart-home", 1000),
        ("ehealth", 1000),
        ("smart-home", 1001),
        ("ehealth", 1001),
        ("smart-home", 1002),
    )
    assert plan.num_runs == 55


def test_a_site_can_be_without_kinds_of_faults_and_goals() -> None:
    site = site_without("smart-city", faults=("node_crash",), goals=("floor", "energy"))
    met = scenario("smart-city").faults.kinds

    assert site.faults == tuple(kind for kind in met if kind.value != "node_crash")
    assert set(GoalKind) - set(site.goals) == {GoalKind.FLOOR, GoalKind.ENERGY}


def test_rows_of_a_site_without_floors_hold_none() -> None:
    bare = Site(scenario=SITE, num_devices=12, goals=(GoalKind.PRIORITY, GoalKind.DELAY))
    floors = Site(scenario=SITE, num_devices=12, goals=(GoalKind.FLOOR,))

    def has_floor(site: Site) -> bool:
        rows = site_examples(site, num_intervals=3, seed=FIRST_TRAINING_SEED, variants=4)
        return any(" floor=0 " not in line for row in rows for line in slice_lines(row))

    assert not has_floor(bare)
    assert has_floor(floors)


def drawn_terms(rng: np.random.Generator, kinds: tuple[GoalKind, ...]) -> GoalTerms:
    """A goal of one of these kinds for a cell of four slices whose own asks for neither floors nor energy."""
    digest, terms = random_case(2, num_slices=4)
    return other_terms(rng, digest, replace(terms, floor=np.zeros(4), energy_weight=0.0), kinds)


def test_energy_goals_bring_floors_only_where_floors_are_met() -> None:
    def share_with_floors(kinds: tuple[GoalKind, ...]) -> float:
        rng = np.random.default_rng(8)
        found = [drawn_terms(rng, kinds) for _ in range(300)]
        return float(np.mean([terms.floor.any() for terms in found if terms.energy_weight > 0]))

    assert share_with_floors((GoalKind.ENERGY, GoalKind.DELAY)) == 0.0
    assert share_with_floors((GoalKind.ENERGY, GoalKind.FLOOR)) == pytest.approx(0.3, abs=0.1)


@pytest.mark.parametrize("seed", range(12))
def test_an_energy_goal_without_its_floors_is_otherwise_the_same(seed: int) -> None:
    met, lacking = np.random.default_rng(seed), np.random.default_rng(seed)
    terms = drawn_terms(met, (GoalKind.ENERGY, GoalKind.FLOOR))
    others = drawn_terms(lacking, (GoalKind.ENERGY, GoalKind.DELAY))

    if terms.energy_weight > 0:
        assert others.energy_weight == terms.energy_weight
        assert lacking.random() == met.random()


def test_a_site_that_meets_every_kind_is_given_the_goals_it_always_was() -> None:
    rng = np.random.default_rng(8)
    found = [drawn_terms(rng, tuple(GoalKind)) for _ in range(60)]
    saving = [(terms.energy_weight, terms.floor.max()) for terms in found if terms.energy_weight > 0]

    assert np.array(saving) == pytest.approx(
        np.array([(0.1467, 0.0), (0.688, 0.0), (0.52, 0.9081), (0.8853, 0.84), (0.8311, 0.0)]), abs=1e-4
    )
    assert sum(terms.weight.sum() + terms.delay_budget_ms.sum() for terms in found) == pytest.approx(70418.745)


def is_asked_for(example: Example) -> bool:
    """Whether the row holds a floor or an energy goal."""
    return " save=0 " not in example.prompt or any(" floor=0 " not in line for line in slice_lines(example))


def test_rehearsed_rows_of_a_site_that_meets_every_kind_are_the_random_ones() -> None:
    rows = rehearsed_examples(Site(scenario=SITE), num_examples=20, seed=3)
    assert list(rows) == list(random_examples(20, seed=3))


def test_rehearsed_rows_hold_no_floors_and_energy_goals_that_the_site_lacks() -> None:
    site = Site(scenario=SITE, goals=(GoalKind.PRIORITY, GoalKind.DELAY))
    pairs = list(zip(random_examples(60, seed=3), rehearsed_examples(site, num_examples=60, seed=3), strict=True))

    assert any(is_asked_for(whole) for whole, _ in pairs)
    assert not any(is_asked_for(bare) for _, bare in pairs)
    assert all(bare == whole for whole, bare in pairs if not is_asked_for(whole))


@pytest.mark.parametrize(("faults", "goals"), [(("jamming",), ()), ((), ("thrift",))])
def test_kinds_that_no_site_of_its_sort_meets_are_refused_by_name(
    faults: tuple[str, ...], goals: tuple[str, ...]
) -> None:
    with pytest.raises(AgentInputInvalid, match=f"'{(faults + goals)[0]}' does not occur at 'smart-city'"):
        site_without("smart-city", faults=faults, goals=goals)
