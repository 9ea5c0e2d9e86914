"""The stages of `edgewright pretrain`, with their budgets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from agent.corpus_export import FIRST_TRAINING_SEED, scenario_examples
from agent.models.local import load_local_model
from agent.pretraining.corpus import random_examples, write_examples
from agent.pretraining.evaluation import score_static
from agent.pretraining.examples import Example
from agent.pretraining.new_model import ModelSize
from agent.pretraining.recipe import Stage, export, train_stages
from agent.pretraining.training import Progress, TrainingPlan
from telemetry_sim.scenarios import list_scenarios

OnStep = Callable[[str, int, int, float], None]
"""Stage, steps done, steps in all, loss."""

_EVALUATION_SEED = 987_654
_SECONDS_PER_EXAMPLE = 0.006
_SECONDS_PER_STEP = 0.36
"""Measured on one core at 24 examples a step and 1.16 M parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageBudget:
    """One stage: where its digests come from and how long it learns."""

    name: str
    num_examples: int
    num_steps: int
    learning_rate: float
    number_spread: float
    is_simulated: bool
    num_rehearsed: int = 0
    """Examples of the first stage mixed in, so that what it taught is kept."""

    @property
    def cpu_minutes(self) -> float:
        """Expected time on one core, corpus included."""
        return (self.num_examples * _SECONDS_PER_EXAMPLE + self.num_steps * _SECONDS_PER_STEP) / 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainingSchedule:
    """All stages, in order."""

    seed: int
    size: ModelSize
    stages: tuple[StageBudget, ...]
    num_evaluated: int

    def with_first_steps(self, num_steps: int) -> PretrainingSchedule:
        """The same schedule with another length of the first stage."""
        return replace(self, stages=(replace(self.stages[0], num_steps=num_steps), *self.stages[1:]))


def full_schedule(*, seed: int) -> PretrainingSchedule:
    """About two hours on one core."""
    return PretrainingSchedule(
        seed=seed,
        size=ModelSize(),
        stages=(
            StageBudget(
                name="synthetic",
                num_examples=120_000,
                num_steps=7_000,
                learning_rate=2e-3,
                number_spread=1.5,
                is_simulated=False,
            ),
            StageBudget(
                name="sites",
                num_examples=60_000,
                num_steps=5_000,
                learning_rate=1.5e-3,
                # Median decoding reads a zero as a one where the bell is wider than about a point.
                number_spread=0.75,
                is_simulated=True,
                num_rehearsed=40_000,
            ),
        ),
        num_evaluated=500,
    )


def quick_schedule(*, seed: int) -> PretrainingSchedule:
    """A few minutes on one core: valid plans, far from the optimum."""
    return PretrainingSchedule(
        seed=seed,
        size=ModelSize(hidden_size=64, num_layers=3),
        stages=(
            StageBudget(
                name="synthetic",
                num_examples=4_000,
                num_steps=300,
                learning_rate=3e-3,
                number_spread=1.5,
                is_simulated=False,
            ),
            StageBudget(
                name="sites",
                num_examples=1_000,
                num_steps=60,
                learning_rate=1e-3,
                number_spread=0.75,
                is_simulated=True,
                num_rehearsed=1_000,
            ),
        ),
        num_evaluated=100,
    )


def build_weights(
    schedule: PretrainingSchedule, *, out: Path, work: Path, device: str, on_step: OnStep
) -> dict[str, Any]:
    """Run all stages, export to `out`, score the result; the record that is also written to `out/training.json`."""
    began = time.process_time()
    stages = tuple(_prepare(budget, index, schedule, work, device) for index, budget in enumerate(schedule.stages))

    def report(stage: str, progress: Progress) -> None:
        on_step(stage, progress.step, progress.num_steps, progress.loss)

    model, tokenizer, results = train_stages(stages, size=schedule.size, seed=schedule.seed, work=work, on_step=report)
    facts: dict[str, object] = {
        "command": "edgewright pretrain",
        "seed": schedule.seed,
        "cpu_minutes": round((time.process_time() - began) / 60.0, 1),
    }
    export(model, tokenizer, results, out, facts=facts)
    score = score_static(load_local_model(str(out)), schedule.num_evaluated, seed=_EVALUATION_SEED)
    return {"stages": [asdict(result) for result in results], **facts, "static": asdict(score)}


def _prepare(budget: StageBudget, index: int, schedule: PretrainingSchedule, work: Path, device: str) -> Stage:
    path = _corpus(budget, work)
    if not path.exists():
        examples = _site_examples(schedule.seed) if budget.is_simulated else _random(budget, schedule.seed)
        write_examples(islice(examples, budget.num_examples), path)
    plan = TrainingPlan(
        num_steps=budget.num_steps,
        batch_size=24,
        learning_rate=budget.learning_rate,
        warmup_steps=min(300, budget.num_steps // 10),
        use_bf16=True,
        number_spread=budget.number_spread,
        seed=schedule.seed + index,
        device=device,
    )
    rehearsed = _corpus(schedule.stages[0], work) if budget.num_rehearsed else None
    return Stage(name=budget.name, corpus=path, plan=plan, rehearsed=rehearsed, num_rehearsed=budget.num_rehearsed)


def _corpus(budget: StageBudget, work: Path) -> Path:
    return work / f"{budget.name}-{budget.num_examples}.jsonl"


def _random(budget: StageBudget, seed: int) -> Iterator[Example]:
    return random_examples(budget.num_examples, seed=seed)


def _site_examples(seed: int) -> Iterator[Example]:
    """Examples of every scenario in turn, run after run, on seeds that no comparison uses."""
    names = [summary.name for summary in list_scenarios()]
    for run in range(10_000):
        first = FIRST_TRAINING_SEED + 1000 * seed + run
        yield from chain.from_iterable(scenario_examples(name, num_intervals=30, seed=first) for name in names)
