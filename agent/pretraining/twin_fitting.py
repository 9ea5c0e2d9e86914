"""Fitting the twin to the simulator: trials of many kinds of plans, then two small networks on what came of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import nn

from agent.pretraining.twin_trials import Outcomes, Rows, Trials, run_trials
from agent.twin_model import Perceptron, TwinModel
from telemetry_sim.scenarios import list_scenarios

_HIDDEN = 128
_BATCH = 52
"""Slices, each under all plans tried on it."""
_PAIRED = 80.0
"""Weight of what differs between the plans of one slice; 20 and 300 fit as well, 0 worse (adr/0013)."""
_LEAST_DEVIATION = 1e-3
_NUM_HELD_OUT = 2
"""Runs of each scenario that only measure the fit; at most half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittingPlan:
    """How much is tried, and how long is learned from it."""

    num_runs: int
    """Of each scenario."""
    num_epochs: int
    first_seed: int
    """Of the runs; none that a comparison uses."""
    seed: int
    num_intervals: int = 20
    """Of each run."""
    learning_rate: float = 5e-3

    @property
    def total_runs(self) -> int:
        """Of all scenarios together."""
        return self.num_runs * len(list_scenarios())

    @classmethod
    def full(cls, *, seed: int, first_seed: int) -> Self:
        """About half a CPU-hour."""
        return cls(num_runs=32, num_epochs=20, seed=seed, first_seed=first_seed)

    @classmethod
    def quick(cls, *, seed: int, first_seed: int) -> Self:
        """About half a minute."""
        return cls(num_runs=2, num_epochs=10, seed=seed, first_seed=first_seed, num_intervals=4)


def fit_twin(
    plan: FittingPlan, *, num_workers: int = 1, on_run: Callable[[], None] = lambda: None
) -> tuple[TwinModel, dict[str, Any]]:
    """The fitted networks, and the record of how well they foresee runs that they did not see."""
    names = [summary.name for summary in list_scenarios()]
    runs = [(name, plan.first_seed + number) for number in range(plan.num_runs) for name in names]
    num_held_out = min(_NUM_HELD_OUT, plan.num_runs // 2) * len(names)
    tried = partial(run_trials, num_intervals=plan.num_intervals, num_workers=num_workers, on_run=on_run)
    known, unseen = tried(runs[num_held_out:]), tried(runs[:num_held_out])
    model = TwinModel(
        radio=fit(known.radio, known.packet_outcomes, plan), tasks=fit(known.tasks, known.task_outcomes, plan)
    )
    record = {
        "command": "edgewright pretrain --task twin",
        "seed": plan.seed,
        "runs": len(runs),
        "rows": known.radio.shape[0] * known.radio.shape[1],
        "epochs": plan.num_epochs,
        "rms_error": _rms_errors(model, unseen),
    }
    return model, record


def fit(features: Rows, outcomes: Outcomes, plan: FittingPlan) -> Perceptron:
    """Least cross-entropy, and least squares of what a plan changes, by AdamW under one cycle of the learning rate.

    Plans are compared in the twin, so what all plans of one slice are wrong by together matters less.
    """
    torch.manual_seed(plan.seed)
    rows = features.reshape(-1, features.shape[-1])
    mean, deviation = rows.mean(axis=0), np.maximum(rows.std(axis=0), _LEAST_DEVIATION)
    inputs = torch.tensor((features - mean) / deviation, dtype=torch.float32)
    wanted = torch.tensor(np.clip(outcomes, 0.0, 1.0), dtype=torch.float32)
    net = nn.Sequential(
        nn.Linear(inputs.shape[-1], _HIDDEN),
        nn.ReLU(),
        nn.Linear(_HIDDEN, _HIDDEN),
        nn.ReLU(),
        nn.Linear(_HIDDEN, outcomes.shape[-1]),
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
            chosen = order[number * batch : (number + 1) * batch]
            told, came = net(inputs[chosen]), wanted[chosen]
            error = torch.sigmoid(told) - came
            between = error - error.mean(dim=1, keepdim=True)
            loss = nn.functional.binary_cross_entropy_with_logits(told, came) + _PAIRED * (between**2).mean()
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
    packets = model.radio.outcome(unseen.radio)
    tasks = model.tasks.outcome(unseen.tasks)
    credit = packets.credit - unseen.packet_outcomes[..., 2]
    return {
        "in_time": _rms(packets.in_time - unseen.packet_outcomes[..., 0]),
        "credit": _rms(credit),
        "credit_between_plans": _rms(credit - credit.mean(axis=1, keepdims=True)),
        "tasks_in_time": _rms(tasks.in_time - unseen.task_outcomes[..., 0]),
        "tasks_credit": _rms(tasks.credit - unseen.task_outcomes[..., 2]),
    }


def _rms(errors: Float64[NDArray[np.float64], "G P"]) -> float:
    return round(float(np.sqrt(np.mean(errors**2))), 4)
