"""A site's side: its texts, the embedding and the first layers; the head too in a U-shaped split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sfl_finetune.batches import Batch, batch_at
from sfl_finetune.errors import MessageInvalid
from sfl_finetune.lora import AdapterSlots, AdapterState, Task, load_state, state_of
from sfl_finetune.optimisation import OptimiserSettings, make_optimiser, take_step
from sfl_finetune.randomness import seeded
from sfl_finetune.ranks import narrowed
from sfl_finetune.wire import Message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sfl_finetune.corpus import Site
    from sfl_finetune.split import ClientSegment, HeadSegment


class Client:
    """One site during training."""

    def __init__(
        self,
        site: Site,
        segment: ClientSegment,
        *,
        head: HeadSegment | None,
        task: Task,
        batch_size: int,
        optimiser: OptimiserSettings,
        seed: int,
        rank: int | None = None,
    ) -> None:
        """The segments are the client's own; `seed` decides batches and dropout, `rank` how much of the adapter."""
        self.site = site
        self.segment = segment.train()
        self.head = None if head is None else head.train()
        self._task: Task = task
        self._batch_size = batch_size
        self._settings = optimiser
        self._seed = seed
        parts: list[nn.Module] = [segment] if head is None else [segment, head]
        slots = [AdapterSlots(part) for part in parts]
        self.names = tuple(name for slot in slots for name in slot.names)
        for slot in slots:
            slot.fill(narrowed(slot.names, slot.current(), rank))
        self.adapter = tuple(weight for slot in slots for weight in slot.current())
        self.optimiser = make_optimiser(self.adapter, optimiser)
        self._batch: Batch | None = None
        self._sent: Tensor | None = None

    @property
    def name(self) -> str:
        """The site's name."""
        return self.site.name

    def forward(self, round_: int, step: int) -> Message:
        """Activations of the client's next batch; `step` counts over all rounds."""
        batch = batch_at(self.site, step, batch_size=self._batch_size, task=self._task, seed=self._seed)
        device = next(self.segment.parameters()).device
        with seeded(self._seed, self.name, step, "client"):
            self._sent = self.segment(batch.token_ids.to(device), batch.attention_mask.to(device))
        self._batch = batch
        return Message(
            kind="activations",
            client=self.name,
            round=round_,
            step=step,
            features=self._sent,
            attention_mask=batch.attention_mask,
            labels=batch.labels if self.head is None else None,
            extra={"num_targets": batch.num_targets},
        )

    def finish(self, features: Message) -> Message:
        """U-shaped split: loss on the features that came back, and their gradient."""
        if self.head is None or self._batch is None or features.features is None:
            raise MessageInvalid(f"client {self.name!r} was sent features it has no head or no batch for")
        device = next(self.segment.parameters()).device
        received = features.features.to(device).requires_grad_()
        with seeded(self._seed, self.name, features.step, "head"):
            loss = self.head(
                received.to(self.segment.model.dtype),
                self._batch.attention_mask.to(device),
                self._batch.labels.to(device),
            ).loss
        torch.autograd.backward(loss)
        return Message(
            kind="feature_gradient",
            client=self.name,
            round=features.round,
            step=features.step,
            features=received.grad,
            loss=float(loss.detach()),
        )

    def backward(self, gradient: Message) -> None:
        """Carry the gradient of what was sent back into the client's layers."""
        if self._sent is None or gradient.features is None or gradient.features.shape != self._sent.shape:
            raise MessageInvalid(f"client {self.name!r} was sent a gradient that fits nothing it sent")
        if self._sent.requires_grad:
            torch.autograd.backward(self._sent, gradient.features.to(self._sent))
        self._sent = self._batch = None

    def step(self, rate: float) -> None:
        """One optimiser step on what was gathered."""
        take_step(self.optimiser, self._settings, rate)

    def forget(self) -> None:
        """Drop a step that won't be finished."""
        self._sent = self._batch = None
        for weight in self.adapter:
            weight.grad = None

    def state(self) -> AdapterState:
        """A copy of the client's adapter."""
        return state_of(self.names, self.adapter)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over the adapter of `state`."""
        load_state(self.names, self.adapter, state)
