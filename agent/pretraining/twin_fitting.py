"""Fitting the twin to the simulator: trials of many kinds of plans, then two small networks on what came of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from agent.pretraining.twin_trials import Ratios, Rows, Trials, run_trials
from agent.twin_model import Perceptron, TwinModel
from telemetry_sim.scenarios import list_scenarios

_HIDDEN = 64
_BATCH = 512
_LEAST_DEVIATION = 1e-3
_NUM_HELD_OUT = 12
"""Runs of each scenario that only measure the fit; at most half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittingPlan:
    """How much is tried, and how long is learned from it."""

    num_runs: int
    """Of each scenario, 20 intervals each."""
    num_epochs: int
    first_seed: int
    """Of the runs; none that a comparison uses."""
    seed: int
    learning_rate: float = 5e-3

    @property
    def total_runs(self) -> int:
        """Of all scenarios together."""
        return self.num_runs * len(list_scenarios())

    @classmethod
    def full(cls, *, seed: int, first_seed: int) -> Self:
        """About 13 CPU-minutes."""
        return cls(num_runs=200, num_epochs=40, seed=seed, first_seed=first_seed)

    @classmethod
    def quick(cls, *, seed: int, first_seed: int) -> Self:
        """About half a minute."""
        return cls(num_runs=4, num_epochs=20, seed=seed, first_seed=first_seed)


def fit_twin(
    plan: FittingPlan, *, num_workers: int = 1, on_run: Callable[[], None] = lambda: None
) -> tuple[TwinModel, dict[str, Any]]:
    """The fitted networks, and the record of how well they foresee runs that they did not see."""
    names = [summary.name for summary in list_scenarios()]
    runs = [(name, plan.first_seed + number) for number in range(plan.num_runs) for name in names]
    num_held_out = min(_NUM_HELD_OUT, plan.num_runs // 2) * len(names)
    known = run_trials(runs[num_held_out:], num_workers=num_workers, on_run=on_run)
    unseen = run_trials(runs[:num_held_out], num_workers=num_workers, on_run=on_run)
    model = TwinModel(radio=fit(known.radio, known.in_time, plan), tasks=fit(known.tasks, known.tasks_in_time, plan))
    record = {
        "command": "edgewright pretrain --task twin",
        "seed": plan.seed,
        "runs": len(runs),
        "rows": len(known.in_time),
        "epochs": plan.num_epochs,
        "rms_error": _rms_errors(model, unseen),
    }
    return model, record


def fit(features: Rows, ratio: Ratios, plan: FittingPlan) -> Perceptron:
    """Least cross-entropy by AdamW under one cycle of the learning rate."""
    torch.manual_seed(plan.seed)
    mean, deviation = features.mean(axis=0), np.maximum(features.std(axis=0), _LEAST_DEVIATION)
    inputs = torch.tensor((features - mean) / deviation, dtype=torch.float32)
    wanted = torch.tensor(np.clip(ratio, 0.0, 1.0), dtype=torch.float32)
    net = nn.Sequential(
        nn.Linear(inputs.shape[1], _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, 1)
    )
    batch = min(_BATCH, len(inputs))
    num_batches = len(inputs) // batch
    optimiser = torch.optim.AdamW(net.parameters(), lr=plan.learning_rate, weight_decay=1e-3)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, plan.learning_rate, total_steps=plan.num_epochs * num_batches
    )
    for _ in range(plan.num_epochs):
        order = torch.randperm(len(inputs))
        for number in range(num_batches):
            rows = order[number * batch : (number + 1) * batch]
            loss = nn.functional.binary_cross_entropy_with_logits(net(inputs[rows])[:, 0], wanted[rows])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            cycle.step()
    layers = [part for part in net if isinstance(part, nn.Linear)]
    return Perceptron(
        mean=mean,
        deviation=deviation,
        layers=tuple(
            (layer.weight.detach().numpy().astype(np.float64), layer.bias.detach().numpy().astype(np.float64))
            for layer in layers
        ),
    )


def _rms_errors(model: TwinModel, unseen: Trials) -> dict[str, float]:
    radio = model.radio.ratio(unseen.radio[None])[0] - unseen.in_time
    tasks = model.tasks.ratio(unseen.tasks[None])[0] - unseen.tasks_in_time
    return {"in_time": round(_rms(radio), 4), "tasks_in_time": round(_rms(tasks), 4)}


def _rms(errors: Ratios) -> float:
    return float(np.sqrt(np.mean(errors**2)))
