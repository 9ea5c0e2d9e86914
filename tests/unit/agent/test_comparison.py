"""Planners compared: the same episodes wherever they run, in the order asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

import pytest

from agent.comparison import Episode, EpisodeSettings, run_episode, tabulate
from agent.comparison_run import run_comparison
from agent.control_loop import Turn
from agent.errors import GoalInvalid
from agent.event_planner import EventPlanner, Triggers
from agent.goal import Expectation, Goal, TargetMetric
from agent.planner import Planner, RawModelPlanner, Source, baseline_planners
from telemetry_sim.scenarios import scenario
from telemetry_sim.topology import SliceId
from tests.agent_stage import ScriptedModel

SETTINGS = EpisodeSettings(scenario="smart-home", num_intervals=3, num_devices=12)
NAMES = [profile.name for profile in scenario("smart-home", 12).topology.slices]
FORMULAS: dict[str, Planner] = {planner.name: planner for planner in baseline_planners()}
BABBLING = RawModelPlanner(model=ScriptedModel("nonsense"))


@dataclass(slots=True)
class Witness:
    """Remembers what a comparison showed."""

    started: list[tuple[str, int]] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    num_skipped: int = 0

    def start(self, planner: str, seed: int) -> None:
        self.started.append((planner, seed))

    def show(self, turn: Turn) -> None:
        self.shown.append(turn.decision.planner)

    def skip(self, num_turns: int) -> None:
        self.num_skipped += num_turns


def timeless(episode: Episode) -> Episode:
    return replace(episode, decision_s=(), elapsed_s=0.0)


def episode(planner: str = "optimiser", seed: int = 7) -> Episode:
    return run_episode(SETTINGS, FORMULAS[planner], seed)


def test_formulas_in_the_other_process_give_the_episodes_they_give_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    planners = [FORMULAS["uniform"], BABBLING, FORMULAS["do_nothing"], FORMULAS["optimiser"]]
    asked = [(planner.name, seed) for planner in planners for seed in (7, 8)]
    witness = Witness()
    episodes = run_comparison(SETTINGS, planners, (7, 8), witness)

    assert [(e.planner, e.seed) for e in episodes] == witness.started == asked
    assert witness.shown == ["llm_raw"] * 6
    assert witness.num_skipped == 6 * SETTINGS.num_intervals
    for made, (planner, seed) in zip(episodes, [(p, s) for p in planners for s in (7, 8)], strict=True):
        assert timeless(made) == timeless(run_episode(SETTINGS, planner, seed))


def test_formulas_alone_run_here_and_are_all_seen() -> None:
    witness = Witness()
    episodes = run_comparison(SETTINGS, [FORMULAS["uniform"], FORMULAS["edf"]], (7,), witness)

    assert [e.planner for e in episodes] == ["uniform", "edf"]
    assert witness.shown == ["uniform"] * 3 + ["edf"] * 3
    assert witness.num_skipped == 0


def test_an_episode_counts_every_decision_and_keeps_its_evidence() -> None:
    made = episode("uniform")
    num_cells = len(scenario("smart-home", 12).topology.cells)

    assert made.num_decisions == made.num_dispatched == 3 * num_cells
    assert made.sources == {Source.FORMULA: 3 * num_cells}
    assert made.num_asked == made.num_valid == 0
    assert len(made.decision_log) == 3 * num_cells
    assert [policy["version"] for policy in made.policies] == [1, 2, 3]
    assert len(made.decision_s) == len(made.score.utility_per_interval) == 3


def test_another_seed_is_another_episode() -> None:
    assert episode(seed=7).score != episode(seed=8).score


def test_rows_are_means_over_seeds_beside_the_optimiser() -> None:
    episodes = [episode(name, seed) for name in ("uniform", "optimiser") for seed in (7, 8)]
    uniform, optimiser = tabulate(episodes, NAMES)
    worth = [e.score.utility for e in episodes]

    assert (uniform.planner, optimiser.planner) == ("uniform", "optimiser")
    assert uniform.utility == pytest.approx((worth[0] + worth[1]) / 2, abs=1e-6)
    assert uniform.utility_per_seed == pytest.approx(worth[:2], abs=1e-6)
    assert uniform.utility_to_optimiser == pytest.approx(sum(worth[:2]) / sum(worth[2:]), abs=1e-6)
    assert optimiser.utility_to_optimiser == 1.0
    assert list(uniform.sla) == list(uniform.delay_p95_ms) == NAMES
    assert uniform.energy_kj == pytest.approx(sum(e.score.energy_j for e in episodes[:2]) / 2000.0, abs=1e-4)
    assert uniform.valid_pct is uniform.own_pct is uniform.fallback_pct is None


def test_without_the_optimiser_nothing_is_measured_against_it() -> None:
    assert tabulate([episode("uniform")], NAMES)[0].utility_to_optimiser is None


def test_model_shares_are_percentages_of_what_was_asked_and_dispatched() -> None:
    made = run_episode(SETTINGS, BABBLING, 7)
    row = tabulate([made], NAMES)[0]
    assert (row.valid_pct, row.own_pct, row.fallback_pct) == (0.0, 0.0, 0.0)

    sources = {Source.MODEL: 5, Source.REPAIRED: 2, Source.FALLBACK: 1, Source.NONE: 2}
    mixed = replace(made, sources=sources, num_asked=10, num_valid=9, num_decisions=13, num_dispatched=8)
    row = tabulate([mixed], NAMES)[0]
    assert (row.valid_pct, row.own_pct, row.fallback_pct, row.repaired_pct) == (90.0, 87.5, 12.5, 25.0)


def test_what_a_model_was_not_asked_counts_neither_as_valid_nor_as_invalid() -> None:
    rare = EventPlanner(planner=BABBLING, triggers=Triggers(load_change_pct=1e9, longest_rest=100))
    made = run_episode(SETTINGS, rare, 7)

    assert 0 < made.num_asked < made.num_decisions
    assert made.num_valid == 0
    assert tabulate([made], NAMES)[0].valid_pct == 0.0


def test_a_model_that_nobody_asked_has_no_share_of_valid_answers() -> None:
    made = replace(run_episode(SETTINGS, BABBLING, 7), num_asked=0, num_valid=0)
    assert tabulate([made], NAMES)[0].valid_pct is None


def test_a_goal_that_does_not_fit_the_scenario_is_refused_before_the_run() -> None:
    wish = Expectation(metric=TargetMetric.PRIORITY, value=2.0, slices=(SliceId(sst=77),))
    settings = replace(SETTINGS, goals=(Goal(id="g", expectations=(wish,)),))

    with pytest.raises(GoalInvalid, match="77-ffffff is unknown"):
        settings.check()


def test_a_delay_is_the_mean_over_the_seeds_that_served_anything() -> None:
    first, second = (episode("uniform", seed) for seed in (7, 8))
    delays = ((None, 100.0, 316.2278, 7.0), (None, None, 281.8383, 7.9))
    changed = [
        replace(one, score=replace(one.score, delay_p95_ms=column))
        for one, column in zip((first, second), delays, strict=True)
    ]
    assert list(tabulate(changed, NAMES)[0].delay_p95_ms.values()) == [None, 100.0, 299.0, 7.45]
