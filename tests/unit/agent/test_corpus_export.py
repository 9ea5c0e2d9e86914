"""Corpora of simulated sites: training seeds only, and rows that read back as the plans they teach."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.commands.run import run
from agent.corpus_export import FIRST_TRAINING_SEED, GoalKind, Site, refuse_training_seeds, site_examples, site_without
from agent.errors import AgentInputInvalid
from agent.policy_bench import BenchPlan
from agent.pretraining.examples import Example
from agent.prompting import Prompt, parse_answer, write_answer
from telemetry_sim.scenarios import scenario

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


@pytest.mark.parametrize(("faults", "goals"), [(("jamming",), ()), ((), ("thrift",))])
def test_kinds_that_no_site_of_its_sort_meets_are_refused_by_name(
    faults: tuple[str, ...], goals: tuple[str, ...]
) -> None:
    with pytest.raises(AgentInputInvalid, match=f"'{(faults + goals)[0]}' does not occur at 'smart-city'"):
        site_without("smart-city", faults=faults, goals=goals)
