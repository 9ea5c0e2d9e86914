"""The unsplit model on the pooled texts: the centralised scheme, and evaluation for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from sfl_finetune.batches import batch_at, collate
from sfl_finetune.corpus import IGNORED, Example, Site
from sfl_finetune.errors import TrainingFailed
from sfl_finetune.optimisation import OptimiserSettings, make_optimiser, take_step
from sfl_finetune.randomness import seeded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

    from sfl_finetune.lora import Task


class WholeModel:
    """Centralised LoRA."""

    def __init__(
        self,
        model: PreTrainedModel,
        sites: Sequence[Site],
        task: Task,
        batch_size: int,
        optimiser: OptimiserSettings,
        seed: int,
    ) -> None:
        """The texts of all `sites` are pooled."""
        self.num_sites = len(sites)
        self._site = Site(name="all", examples=tuple(example for site in sites for example in site.examples))
        self._model = model
        self._task: Task = task
        self._batch_size = batch_size
        self._settings = optimiser
        self._seed = seed
        made = make_optimiser((weight for weight in model.parameters() if weight.requires_grad), optimiser)
        if made is None:
            raise TrainingFailed("the adapter has no trainable parameter")
        self.optimiser = made

    def step(self, step: int, rate: float) -> tuple[float, int]:
        """Loss and number of targets of one step."""
        batch = batch_at(self._site, step, batch_size=self._batch_size, task=self._task, seed=self._seed)
        device = self._model.device
        with seeded(self._seed, "all", step, "whole"):
            loss = self._model(
                input_ids=batch.token_ids.to(device),
                attention_mask=batch.attention_mask.to(device),
                labels=batch.labels.to(device),
            ).loss
        if not torch.isfinite(loss):
            raise TrainingFailed(f"step {step}: the loss is {loss.item()}; wanted a finite number")
        loss.backward()
        take_step(self.optimiser, self._settings, rate)
        return float(loss.detach()), batch.num_targets


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """How well a model does on texts it has not learnt from."""

    loss: float
    """Mean over targets."""
    accuracy: float
    """Share of targets predicted exactly."""
    macro_f1: float | None
    """Mean over classes; classification only."""


@torch.no_grad()
def evaluate(model: PreTrainedModel, examples: Sequence[Example], task: Task, *, batch_size: int = 32) -> Evaluation:
    """Loss and accuracy of the unsplit model."""
    was_training = model.training
    model.eval()
    by_length = sorted(examples, key=lambda example: len(example.token_ids))
    loss_sum, predicted, wanted = 0.0, [], []
    for start in range(0, len(by_length), batch_size):
        batch = collate(by_length[start : start + batch_size], task)
        output = model(
            input_ids=batch.token_ids.to(model.device),
            attention_mask=batch.attention_mask.to(model.device),
        )
        logits, targets = output.logits.float().cpu(), batch.labels
        if task == "causal_lm":
            logits, targets = logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten()
        kept = targets != IGNORED
        loss_sum += float(torch.nn.functional.cross_entropy(logits[kept], targets[kept], reduction="sum"))
        predicted.append(logits[kept].argmax(dim=-1))
        wanted.append(targets[kept])
    model.train(was_training)
    guesses, truth = torch.cat(predicted), torch.cat(wanted)
    return Evaluation(
        loss=loss_sum / max(1, truth.numel()),
        accuracy=float((guesses == truth).double().mean()),
        macro_f1=_macro_f1(guesses, truth) if task == "classification" else None,
    )


def _macro_f1(guesses: torch.Tensor, truth: torch.Tensor) -> float:
    scores: list[float] = []
    for label in sorted(set(truth.tolist())):
        hits = int(((guesses == label) & (truth == label)).sum())
        sizes = int((guesses == label).sum()) + int((truth == label).sum())
        scores.append(2 * hits / sizes)
    return sum(scores) / len(scores)
