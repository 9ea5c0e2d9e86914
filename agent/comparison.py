"""Planners compared on the same seeds: one episode per planner and seed, scored from the network's own counters."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from agent.bootstrap import build_loop, build_network
from agent.control_loop import Turn
from agent.goal import Goal, check_goal
from agent.planner import Planner, Source
from agent.rounding import to_digits
from agent.scoring import IntervalScore, RunScore, score_interval, summarise
from telemetry_sim.scenarios import scenario

_DELAY_DIGITS = 3
"""Of a delay's mean over seeds; each is known to a bin of 12 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeSettings:
    """What all planners of a comparison share."""

    scenario: str
    num_intervals: int = 40
    interval_s: float = 10.0
    num_devices: int | None = None
    goals: tuple[Goal, ...] = ()

    def check(self) -> None:
        """Raise ScenarioInvalid or GoalInvalid before anything slow begins."""
        topology = scenario(self.scenario, self.num_devices).topology
        for goal in self.goals:
            check_goal(goal, topology)


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One planner on one seed."""

    planner: str
    seed: int
    score: RunScore
    sources: dict[Source, int]
    num_asked: int
    """Cell decisions for which a model was asked."""
    num_valid: int
    """Of these, those whose answer was valid before any repair."""
    num_decisions: int
    num_dispatched: int
    repairs: dict[str, int]
    decision_log: tuple[dict[str, object], ...]
    policies: tuple[dict[str, object], ...]
    decision_s: tuple[float, ...]
    """Wall time of each interval's decision, all cells together."""
    elapsed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerRow:
    """One planner over all seeds: the comparison's table row."""

    planner: str
    utility: float
    utility_per_seed: tuple[float, ...]
    utility_to_optimiser: float | None
    sla: dict[str, float]
    sla_mean: float
    """Each slice counted alike."""
    sla_by_priority: float
    """Weighted by the slices' priority."""
    jain: float
    delay_p95_ms: dict[str, float | None]
    """Of what was served, the mean over the seeds; None where nothing was. Read off a histogram: up to 12 % high."""
    delay_p99_ms: dict[str, float | None]
    energy_kj: float
    valid_pct: float | None
    """Answers valid before any repair; None where nothing was asked, as for planners without a model."""
    own_pct: float | None
    """Dispatched cell plans that are the model's own."""
    fallback_pct: float | None
    repaired_pct: float | None


@dataclass(slots=True)
class _Tally:
    scores: list[IntervalScore] = field(default_factory=list)
    log: list[dict[str, object]] = field(default_factory=list)
    policies: list[dict[str, object]] = field(default_factory=list)
    decision_s: list[float] = field(default_factory=list)
    sources: Counter[Source] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    num_asked: int = 0
    num_valid: int = 0
    num_decisions: int = 0

    def add(self, turn: Turn) -> None:
        self.scores.append(score_interval(turn.telemetry.frames, turn.terms))
        self.log.extend(turn.log_rows())
        self.decision_s.append(turn.decision.elapsed_s)
        if turn.policy is not None:
            self.policies.append(turn.policy.model_dump(mode="json"))
        for decided in turn.decision.cells:
            self.sources[decided.source] += 1
            self.repairs.update(decided.repairs)
            self.num_asked += bool(decided.prompt)
            self.num_valid += bool(decided.prompt) and decided.is_valid
            self.num_decisions += 1


def run_episode(
    settings: EpisodeSettings, planner: Planner, seed: int, *, on_turn: Callable[[Turn], None] = lambda _: None
) -> Episode:
    """Run one planner on one seed from a fresh network."""
    began = time.perf_counter()
    network = build_network(settings.scenario, seed=seed, num_devices=settings.num_devices)
    loop = build_loop(network, planner, goals=settings.goals, interval_s=settings.interval_s)
    tally = _Tally()
    for _ in range(settings.num_intervals):
        turn = loop.turn()
        if turn is None:
            break
        tally.add(turn)
        on_turn(turn)
    dispatched = sum(count for source, count in tally.sources.items() if source is not Source.NONE)
    return Episode(
        planner=planner.name,
        seed=seed,
        score=summarise(tally.scores, network.topology),
        sources=dict(tally.sources),
        num_asked=tally.num_asked,
        num_valid=tally.num_valid,
        num_decisions=tally.num_decisions,
        num_dispatched=dispatched,
        repairs=dict(tally.repairs),
        decision_log=tuple(tally.log),
        policies=tuple(tally.policies),
        decision_s=tuple(tally.decision_s),
        elapsed_s=time.perf_counter() - began,
    )


def tabulate(episodes: Sequence[Episode], slice_names: Sequence[str]) -> tuple[PlannerRow, ...]:
    """One row per planner, in order of first appearance."""
    by_planner: dict[str, list[Episode]] = {}
    for episode in episodes:
        by_planner.setdefault(episode.planner, []).append(episode)
    reference = by_planner.get("optimiser")
    optimiser = None if reference is None else float(np.mean([e.score.utility for e in reference]))
    return tuple(_row(name, group, slice_names, optimiser) for name, group in by_planner.items())


def _row(name: str, group: Sequence[Episode], slice_names: Sequence[str], optimiser: float | None) -> PlannerRow:
    def per_slice(column: str) -> dict[str, float]:
        means = np.mean([getattr(e.score, column) for e in group], axis=0)
        return {slice_name: round(float(x), 4) for slice_name, x in zip(slice_names, means, strict=True)}

    utilities = tuple(round(e.score.utility, 6) for e in group)
    utility = float(np.mean([e.score.utility for e in group]))
    return PlannerRow(
        planner=name,
        utility=round(utility, 6),
        utility_per_seed=utilities,
        utility_to_optimiser=None if optimiser is None else round(utility / optimiser, 6),
        sla=per_slice("sla"),
        sla_mean=round(float(np.mean([e.score.sla_mean for e in group])), 6),
        sla_by_priority=round(float(np.mean([e.score.sla_by_priority for e in group])), 6),
        jain=round(float(np.mean([e.score.jain for e in group])), 6),
        delay_p95_ms=_delays([e.score.delay_p95_ms for e in group], slice_names),
        delay_p99_ms=_delays([e.score.delay_p99_ms for e in group], slice_names),
        energy_kj=round(float(np.mean([e.score.energy_j for e in group])) / 1000.0, 4),
        **_model_shares(group),
    )


def _delays(per_seed: Sequence[Sequence[float | None]], slice_names: Sequence[str]) -> dict[str, float | None]:
    """Means over the seeds in which anything was served."""
    found: dict[str, float | None] = {}
    for slice_name, column in zip(slice_names, zip(*per_seed, strict=True), strict=True):
        known = [delay for delay in column if delay is not None]
        found[slice_name] = to_digits(float(np.mean(known)), _DELAY_DIGITS) if known else None
    return found


def _model_shares(group: Sequence[Episode]) -> dict[str, float | None]:
    """Percentages that only make sense where a model was asked."""
    asked = sum(e.num_asked for e in group)
    if not asked:
        return {"valid_pct": None, "own_pct": None, "fallback_pct": None, "repaired_pct": None}
    dispatched = max(sum(e.num_dispatched for e in group), 1)

    def part(source: Source) -> float:
        return round(100.0 * sum(e.sources.get(source, 0) for e in group) / dispatched, 2)

    return {
        "valid_pct": round(100.0 * sum(e.num_valid for e in group) / asked, 2),
        "own_pct": round(part(Source.MODEL) + part(Source.REPAIRED), 2),
        "fallback_pct": part(Source.FALLBACK),
        "repaired_pct": part(Source.REPAIRED),
    }
