"""Fitting the twin to the simulator: trials of many kinds of plans, then two small networks on what came of them.

Both are fitted together and as the twin uses them: what it foresees is a mean over futures, and the plan that it
foresees most of is chosen. Shapes are those of `twin_trials`, with B cells of a batch for N.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from agent.pretraining.twin_networks import Cells, Networks
from agent.pretraining.twin_trials import NUM_RANDOM, Trials, run_trials
from agent.twin_model import TwinModel
from telemetry_sim.scenarios import list_scenarios

_BATCH = 16
"""Cells, each under all plans tried on it."""
_PAIRED = 80.0
"""Weight of what differs between the plans of one slice (adr/0013)."""
_WORTH = 1000.0
"""Weight of what differs between the plans of one cell in worth (adr/0014)."""
_LEVEL = 400.0
"""Weight of how far off the worth of each plan is (adr/0014)."""
_CHOICE = 100.0
"""Weight of the worth that the chosen plan turned out to have (adr/0014)."""
_DOUBT = 0.01
"""Difference in worth from which on one plan is chosen rather than another."""
_LEAST_CHANCE = 1e-5
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
        return cls(num_runs=34, num_epochs=16, seed=seed, first_seed=first_seed)

    @classmethod
    def quick(cls, *, seed: int, first_seed: int) -> Self:
        """About half a minute."""
        return cls(num_runs=2, num_epochs=10, seed=seed, first_seed=first_seed, num_intervals=4)


def fit_twin(
    plan: FittingPlan,
    *,
    num_workers: int = 1,
    on_run: Callable[[], None] = lambda: None,
    on_epoch: Callable[[], None] = lambda: None,
) -> tuple[TwinModel, dict[str, Any]]:
    """The fitted networks, and the record of how well they foresee runs that they did not see."""
    names = [summary.name for summary in list_scenarios()]
    runs = [(name, plan.first_seed + number) for number in range(plan.num_runs) for name in names]
    num_held_out = min(_NUM_HELD_OUT, plan.num_runs // 2) * len(names)
    tried = partial(run_trials, num_intervals=plan.num_intervals, num_workers=num_workers, on_run=on_run)
    known, unseen = tried(runs[num_held_out:]), tried(runs[:num_held_out])
    networks = fit(known, plan, on_epoch=on_epoch)
    record = {
        "command": "edgewright pretrain --task twin",
        "seed": plan.seed,
        "runs": len(runs),
        "cell_intervals": len(known.utility),
        "epochs": plan.num_epochs,
        **_errors(networks, unseen),
    }
    return networks.model(), record


def fit(trials: Trials, plan: FittingPlan, *, on_epoch: Callable[[], None] = lambda: None) -> Networks:
    """Least loss by AdamW under one cycle of the learning rate."""
    torch.manual_seed(plan.seed)
    networks, cells = Networks(trials), Cells.of(trials)
    batch = min(_BATCH, len(trials.utility))
    num_batches = len(trials.utility) // batch
    optimiser = torch.optim.AdamW(networks.parameters(), lr=plan.learning_rate, weight_decay=1e-3)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, plan.learning_rate, total_steps=plan.num_epochs * num_batches
    )
    for _ in range(plan.num_epochs):
        order = torch.randperm(len(trials.utility))
        for number in range(num_batches):
            chosen = cells[order[number * batch : (number + 1) * batch]]
            worth, packets, tasks = networks(chosen)
            loss = (
                _slice_loss(packets, chosen.packet_outcomes)
                + _slice_loss(tasks, chosen.task_outcomes)
                + plan_loss(worth, chosen.utility)
            )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            cycle.step()
        on_epoch()
    return networks


def plan_loss(worth: Float[Tensor, "B P"], utility: Float[Tensor, "B P"]) -> Float[Tensor, ""]:
    """Squares of the worth's error and of what a plan changes of it, less what is had by choosing a candidate by it."""
    chance = torch.softmax(worth[:, :-NUM_RANDOM] / _DOUBT, dim=1)
    gained = (chance * _between_plans(utility[:, :-NUM_RANDOM])).sum(dim=1).mean()
    error = worth - utility
    return _LEVEL * (error**2).mean() + _WORTH * (_between_plans(error) ** 2).mean() - _CHOICE * gained


def _slice_loss(told: Float[Tensor, "B P S 3"], came: Float[Tensor, "B P S 3"]) -> Float[Tensor, ""]:
    """Cross-entropy, and squares of what a plan changes; what all plans of one slice are wrong by matters less."""
    is_known = ~came.isnan().any(dim=1, keepdim=True)
    came = torch.where(is_known, came, 0.0)
    entropy = functional.binary_cross_entropy(told.clamp(_LEAST_CHANCE, 1.0 - _LEAST_CHANCE), came, reduction="none")
    between = _between_plans(told - came)
    each = (entropy + _PAIRED * between**2).mean(dim=1, keepdim=True)
    return (each * is_known).sum() / is_known.sum().clamp(min=1)


def _between_plans(values: Float[Tensor, "B P *rest"]) -> Float[Tensor, "B P *rest"]:
    return values - values.mean(dim=1, keepdim=True)


@torch.inference_mode()
def _errors(networks: Networks, unseen: Trials) -> dict[str, float]:
    """How far off what is foreseen is (RMS), and what the plan put first was worth beside the best candidate."""
    cells = Cells.of(unseen)
    worth, packets, tasks = networks(cells)
    chosen = worth[:, :-NUM_RANDOM].argmax(dim=1, keepdim=True)
    packets_off, tasks_off = packets - cells.packet_outcomes, tasks - cells.task_outcomes
    told = {
        "rms_in_time": _rms(packets_off[..., 0]),
        "rms_credit": _rms(packets_off[..., 2]),
        "rms_tasks_in_time": _rms(tasks_off[..., 0]),
        "rms_worth": _rms(worth - cells.utility),
        "rms_worth_between_plans": _rms(_between_plans(worth - cells.utility)),
        "first_plan_utility": float(cells.utility.gather(1, chosen).mean()),
        "best_plan_utility": float(cells.utility[:, :-NUM_RANDOM].max(dim=1).values.mean()),
    }
    return {name: round(value, 4) for name, value in told.items()}


def _rms(errors: Tensor) -> float:
    return float(errors.square().nanmean().sqrt())
