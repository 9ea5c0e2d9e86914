"""The stages of `edgewright pretrain`, with their budgets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agent.models.local import load_local_model
from agent.models.port import PolicyModel
from agent.optimiser import complete_plan
from agent.pretraining.corpus import random_examples, write_examples
from agent.pretraining.evaluation import Case, score_static
from agent.pretraining.examples import random_digest, random_terms
from agent.pretraining.muon import is_bf16_fast
from agent.pretraining.new_model import ModelSize
from agent.pretraining.own_prefixes import own_prefix_examples
from agent.pretraining.recipe import Stage, export, train_stages
from agent.pretraining.training import Progress, TrainingPlan
from agent.prompting import TEMPLATE

OnStep = Callable[[str, int, int, float], None]
"""Stage, steps done, steps in all, loss."""

_EVALUATION_SEED = 987_654
_SECONDS_PER_EXAMPLE = 0.008
_SECONDS_PER_STEP, _SECONDS_PER_STEP_BF16 = 1.04, 0.29
"""Measured on one core at 24 examples a step and 1.16 M parameters: with AVX2, and with instructions for bf16."""
_QUICK_STEP_COST = 0.35
"""A step of the quick size takes so much of a full one; measured with AVX2."""


class Source(StrEnum):
    """Where a stage's examples come from."""

    RANDOM = "random cells"
    OWN = "own beginnings"
    """Random cells begun as the model itself would and completed by the optimiser."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageBudget:
    """One stage: where its digests come from and how long it learns."""

    name: str
    num_examples: int
    num_steps: int
    learning_rate: float
    number_spread: float
    source: Source
    num_rehearsed: int = 0
    """Examples of the stage before mixed in, so that what it taught is kept."""
    step_cost: float = 1.0
    """Time of a step, to one of the full size."""

    @property
    def cpu_minutes(self) -> float:
        """Expected time on one core of this machine, corpus included."""
        seconds_per_step = _SECONDS_PER_STEP_BF16 if is_bf16_fast(torch.device("cpu")) else _SECONDS_PER_STEP
        steps_s = self.num_steps * seconds_per_step * self.step_cost
        return (self.num_examples * _SECONDS_PER_EXAMPLE + steps_s) / 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainingSchedule:
    """All stages, in order."""

    seed: int
    size: ModelSize
    stages: tuple[StageBudget, ...]
    num_evaluated: int
    least_gap_closed: float | None = None
    """Part of the gap between uniform split and optimum that the weights must close, or the chain has failed."""

    def with_first_steps(self, num_steps: int) -> PretrainingSchedule:
        """The same schedule with another length of the first stage, which promises nothing."""
        stages = (replace(self.stages[0], num_steps=num_steps), *self.stages[1:])
        return replace(self, stages=stages, least_gap_closed=None)


def full_schedule(*, seed: int) -> PretrainingSchedule:
    """About three quarters of an hour on one core with instructions for bf16, two and a half hours on one with AVX2."""
    return PretrainingSchedule(
        seed=seed,
        size=ModelSize(),
        stages=(
            StageBudget(
                name="synthetic",
                num_examples=72_000,
                num_steps=6_500,
                learning_rate=2e-3,
                number_spread=1.5,
                source=Source.RANDOM,
            ),
            StageBudget(
                name="own",
                num_examples=5_000,
                num_steps=1_000,
                learning_rate=7e-4,
                # Median decoding reads a zero as a one where the bell is wider than about a point.
                number_spread=0.75,
                source=Source.OWN,
                num_rehearsed=10_000,
            ),
        ),
        num_evaluated=500,
        least_gap_closed=0.85,
    )


def quick_schedule(*, seed: int) -> PretrainingSchedule:
    """About ten minutes on one core with AVX2: better than the uniform split, far from the optimum."""
    return PretrainingSchedule(
        seed=seed,
        size=ModelSize(hidden_size=64, num_layers=3),
        stages=(
            StageBudget(
                name="synthetic",
                num_examples=20_000,
                num_steps=1_200,
                learning_rate=3e-3,
                number_spread=1.5,
                source=Source.RANDOM,
                step_cost=_QUICK_STEP_COST,
            ),
            StageBudget(
                name="own",
                num_examples=400,
                num_steps=40,
                learning_rate=5e-4,
                number_spread=0.75,
                source=Source.OWN,
                num_rehearsed=800,
                step_cost=_QUICK_STEP_COST,
            ),
        ),
        num_evaluated=100,
        least_gap_closed=0.3,
    )


def build_weights(
    schedule: PretrainingSchedule, *, out: Path, work: Path, device: str, on_step: OnStep
) -> dict[str, Any]:
    """Run all stages, export to `out`, score the result; the record that is also written to `out/training.json`."""
    began = time.process_time()
    # Corpora and checkpoints of another form of the prompt, or of another seed, are of no use to this one.
    work = work / TEMPLATE / f"seed-{schedule.seed}"
    stages = tuple(_prepare(budget, index, schedule, work, device) for index, budget in enumerate(schedule.stages))

    def report(stage: str, progress: Progress) -> None:
        on_step(stage, progress.step, progress.num_steps, progress.loss)

    model, tokenizer, results = train_stages(stages, size=schedule.size, seed=schedule.seed, work=work, on_step=report)
    facts: dict[str, object] = {
        "command": "edgewright pretrain",
        "template": TEMPLATE,
        "seed": schedule.seed,
        "cpu_minutes": round((time.process_time() - began) / 60.0, 1),
    }
    export(model, tokenizer, results, out, facts=facts)
    score = score_static(load_local_model(str(out)), schedule.num_evaluated, seed=_EVALUATION_SEED)
    return {"stages": [asdict(result) for result in results], **facts, "static": asdict(score)}


def _prepare(budget: StageBudget, index: int, schedule: PretrainingSchedule, work: Path, device: str) -> Stage:
    path = _corpus(budget, work)
    if not path.exists() and budget.source is not Source.OWN:
        write_examples(random_examples(budget.num_examples, seed=schedule.seed), path)
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

    def write_own(model: PolicyModel) -> None:
        cases = islice(_own_cases(schedule.seed), budget.num_examples)
        write_examples(own_prefix_examples(model, cases, complete_plan, seed=schedule.seed), path)

    return Stage(
        name=budget.name,
        corpus=path,
        plan=plan,
        rehearsed=_corpus(schedule.stages[index - 1], work) if budget.num_rehearsed else None,
        num_rehearsed=budget.num_rehearsed,
        write_corpus=write_own if budget.source is Source.OWN else None,
    )


def _corpus(budget: StageBudget, work: Path) -> Path:
    return work / f"{budget.name}-{budget.num_examples}.jsonl"


def _own_cases(seed: int) -> Iterator[Case]:
    """Random cells, of two the one of more slices: most of what is left to learn lies there."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, 1)))
    while True:
        digest = max((random_digest(rng) for _ in range(2)), key=lambda found: len(found.slices))
        yield digest, random_terms(rng, digest)
