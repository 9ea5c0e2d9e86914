"""Optimisers and learning rates, the same for every segment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from sfl_finetune.errors import MessageInvalid, SettingInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn


_MOST_RATE = 1e30
"""Adam multiplies it, and beyond 3.4e38 it is no number of the weights' format."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimiserSettings:
    """How weights follow gradients."""

    name: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    clip_norm: float | None = 1.0
    """Largest norm of a segment's gradient; client and server clip apart, as neither sees the other's."""
    schedule: Literal["constant", "linear"] = "linear"
    warmup_share: float = 0.05
    """Share of all steps in which the rate rises to `learning_rate`."""

    def __post_init__(self) -> None:
        """Refuse rates that can't learn."""
        if not 0 < self.learning_rate <= _MOST_RATE:
            raise SettingInvalid(
                f"learning_rate={self.learning_rate} is out of range; allowed: above 0, to {_MOST_RATE:g}"
            )
        if not 0.0 <= self.warmup_share < 1.0:
            raise SettingInvalid(
                f"warmup_share={self.warmup_share} is out of range; allowed: 0 up to but not including 1"
            )

    def rate_at(self, step: int, num_steps: int) -> float:
        """Learning rate of `step`, counted from 0."""
        warmup = max(1, round(self.warmup_share * num_steps))
        if step < warmup and self.warmup_share > 0:
            return self.learning_rate * (step + 1) / warmup
        if self.schedule == "constant":
            return self.learning_rate
        return self.learning_rate * max(0.0, (num_steps - step) / max(1, num_steps - warmup))


def make_optimiser(weights: Iterable[nn.Parameter], settings: OptimiserSettings) -> torch.optim.Optimizer | None:
    """A fresh optimiser, or None where the segment has nothing to train."""
    trained = list(weights)
    if not trained:
        return None
    if settings.name == "sgd":
        return torch.optim.SGD(trained, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    return torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=settings.weight_decay)


def take_step(optimiser: torch.optim.Optimizer | None, settings: OptimiserSettings, rate: float) -> None:
    """Clip, refuse what is not finite, step, and forget the gradients."""
    if optimiser is None:
        return
    weights = [weight for group in optimiser.param_groups for weight in group["params"] if weight.grad is not None]
    norm = torch.nn.utils.get_total_norm([weight.grad for weight in weights])
    if not torch.isfinite(norm):
        optimiser.zero_grad()
        raise MessageInvalid(f"the gradient's norm is {norm.item()}; wanted a finite number")
    if settings.clip_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(weights, settings.clip_norm, norm)
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    optimiser.zero_grad()
