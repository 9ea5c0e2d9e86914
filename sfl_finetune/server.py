"""The server's side: one base or a base per client, and a seat (adapter and optimiser) for each of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sfl_finetune.batched import check_batchable, losses_together, side_by_side
from sfl_finetune.errors import MessageInvalid
from sfl_finetune.lora import AdapterSlots, AdapterState, load_state, state_of
from sfl_finetune.optimisation import OptimiserSettings, make_optimiser, take_step
from sfl_finetune.randomness import seeded
from sfl_finetune.ranks import narrowed
from sfl_finetune.split import ServerSegment, server_segment
from sfl_finetune.wire import Message

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from transformers import PreTrainedModel

    from sfl_finetune.anatomy import Anatomy
    from sfl_finetune.schemes import Scheme


@dataclass(kw_only=True, slots=True)
class Seat:
    """What the server keeps for one client."""

    segment: ServerSegment
    slots: AdapterSlots
    adapter: tuple[nn.Parameter, ...]
    optimiser: torch.optim.Optimizer | None

    def take(self) -> None:
        """Put this seat's adapter into the base it uses: a swap of pointers."""
        self.slots.fill(self.adapter)

    def state(self) -> AdapterState:
        """A copy of the seat's adapter."""
        return state_of(self.slots.names, self.adapter)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over the adapter of `state`."""
        load_state(self.slots.names, self.adapter, state)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pending:
    """A forward pass whose backward pass is to come."""

    message: Message
    received: Tensor
    output: Tensor
    """The loss, or the features (B, L, D) in a U-shaped split."""


class Server:
    """Serves clients in the order it is asked to."""

    def __init__(
        self,
        model: PreTrainedModel,
        parts: Anatomy,
        cuts: Mapping[str, int],
        *,
        scheme: Scheme,
        optimiser: OptimiserSettings,
        is_u_shaped: bool = False,
        seed: int = 0,
        ranks: Mapping[str, int] | None = None,
    ) -> None:
        """`cuts` gives each client's cut layer, `ranks` those with less than the whole adapter.

        Clients with the same cut share a segment unless bases are copied.
        """
        self._settings = optimiser
        self._seed = seed
        self.is_u_shaped = is_u_shaped
        self.num_features = int(model.config.hidden_size)
        self.seats: dict[str, Seat] = {}
        shared: dict[int, tuple[ServerSegment, AdapterSlots]] = {}
        relay: dict[int, Seat] = {}
        for client, cut in cuts.items():
            if scheme.copies_base or cut not in shared:
                segment = server_segment(
                    model, parts, cut_layer=cut, is_u_shaped=is_u_shaped, share_frozen=not scheme.copies_base
                ).train()
                if scheme.is_batched:
                    check_batchable(segment)
                if scheme.checkpointing:
                    segment.checkpoint_activations()
                shared[cut] = (segment, AdapterSlots(segment))
            segment, slots = shared[cut]
            if cut not in relay or not scheme.is_relay:
                adapter = narrowed(slots.names, slots.fresh(), (ranks or {}).get(client))
                optimiser_ = make_optimiser(adapter, optimiser)
                relay[cut] = Seat(segment=segment, slots=slots, adapter=adapter, optimiser=optimiser_)
            self.seats[client] = relay[cut]

    def together(self, messages: Sequence[Message]) -> list[Message | MessageInvalid]:
        """One pass for several clients' activations: each one's gradient, or why it is refused.

        Dropout draws from one stream for all of them, so it does not repeat what clients would draw in turn.
        """
        answers: dict[str, Message | MessageInvalid] = {}
        groups: dict[int, list[tuple[Message, Tensor]]] = {}
        for message in messages:
            try:
                received = self._checked(message).requires_grad_()
                groups.setdefault(id(self.seats[message.client].segment), []).append((message, received))
            except MessageInvalid as error:
                answers[message.client] = error
        for group in groups.values():
            answers |= self._one_pass(group)
        return [answers[message.client] for message in messages]

    def _one_pass(self, group: Sequence[tuple[Message, Tensor]]) -> dict[str, Message | MessageInvalid]:
        seats = [self.seats[message.client] for message, _ in group]
        segment = seats[0].segment
        device = next(segment.parameters()).device
        moved = [received.to(device) for _, received in group]
        masks = [message.attention_mask for message, _ in group]
        labels = [message.labels for message, _ in group if message.labels is not None]
        names = (str(message.client) for message, _ in group)
        # Checkpointed layers run again in the backward pass, so the adapters stay in place until it is over.
        with side_by_side(segment, [seat.adapter for seat in seats], [len(one) for one in moved]):
            with seeded(self._seed, ",".join(names), group[0][0].step, "server"):
                losses = losses_together(segment, moved, masks, labels)
            finite = [loss for loss in losses if torch.isfinite(loss)]
            if finite:
                torch.autograd.backward(finite)
        answers: dict[str, Message | MessageInvalid] = {}
        for (message, received), loss in zip(group, losses, strict=True):
            client = message.client
            answers[client] = (
                Message(
                    kind="gradient",
                    client=client,
                    round=message.round,
                    step=message.step,
                    features=received.grad,
                    loss=float(loss.detach()),
                )
                if torch.isfinite(loss)
                else MessageInvalid(f"client {client!r}: the loss is {loss.item()}; wanted a finite number")
            )
        return answers

    def forward(self, message: Message) -> Pending:
        """Run the client's activations through its seat; refuses what can't be trained on."""
        activations = self._checked(message)
        seat = self.seats[message.client]
        seat.take()
        weight = next(seat.segment.parameters())
        received = activations.to(weight.device).requires_grad_()
        mask = None if message.attention_mask is None else message.attention_mask.to(weight.device)
        labels = None if message.labels is None else message.labels.to(weight.device)
        with seeded(self._seed, message.client, message.step, "server"):
            output: Any = seat.segment(received.to(seat.segment.model.dtype), mask, labels)
        if self.is_u_shaped:
            return Pending(message=message, received=received, output=output)
        if not torch.isfinite(output.loss):
            raise MessageInvalid(f"client {message.client!r}: the loss is {output.loss.item()}; wanted a finite number")
        return Pending(message=message, received=received, output=output.loss)

    def features(self, pending: Pending) -> Message:
        """What a U-shaped split sends back to the client's head."""
        sent = pending.message
        return Message(kind="features", client=sent.client, round=sent.round, step=sent.step, features=pending.output)

    def backward(self, pending: Pending, feature_gradient: Message | None = None) -> Message:
        """The gradient of what the client sent; the seat keeps its adapter's own."""
        seat = self.seats[pending.message.client]
        # Checkpointed layers run again now, so the seat's adapter must be in place again.
        seat.take()
        if feature_gradient is None:
            torch.autograd.backward(pending.output)
        else:
            gradient = feature_gradient.features
            if gradient is None or gradient.shape != pending.output.shape or not torch.isfinite(gradient).all():
                raise MessageInvalid(f"client {pending.message.client!r} sent a feature gradient that can't be used")
            if feature_gradient.loss is None or not math.isfinite(feature_gradient.loss):
                raise MessageInvalid(f"client {pending.message.client!r} reported a loss of {feature_gradient.loss}")
            torch.autograd.backward(pending.output, gradient.to(pending.output))
        sent = pending.message
        loss = feature_gradient.loss if feature_gradient is not None else float(pending.output.detach())
        return Message(
            kind="gradient",
            client=sent.client,
            round=sent.round,
            step=sent.step,
            features=pending.received.grad,
            loss=loss,
        )

    def step(self, client: str, rate: float) -> None:
        """One optimiser step for one client's seat."""
        take_step(self.seats[client].optimiser, self._settings, rate)

    def forget(self, client: str) -> None:
        """Drop the gradients of a step that won't be finished."""
        for weight in self.seats[client].adapter:
            weight.grad = None

    def _checked(self, message: Message) -> Tensor:
        if message.client not in self.seats:
            raise MessageInvalid(f"client {message.client!r} has no seat; known: {', '.join(self.seats)}")
        features = message.features
        if features is None or features.dim() != 3 or features.shape[-1] != self.num_features:
            shape = None if features is None else tuple(features.shape)
            raise MessageInvalid(
                f"client {message.client!r} sent activations of shape {shape}; "
                f"wanted (texts, tokens, {self.num_features})"
            )
        if message.attention_mask is not None and message.attention_mask.shape != features.shape[:2]:
            raise MessageInvalid(
                f"client {message.client!r} sent a mask of shape {tuple(message.attention_mask.shape)}; "
                f"wanted {tuple(features.shape[:2])}"
            )
        if not torch.isfinite(features).all():
            raise MessageInvalid(f"client {message.client!r} sent activations that are not finite")
        if (message.labels is None) != self.is_u_shaped:
            raise MessageInvalid(
                f"client {message.client!r}: labels are {'not ' if self.is_u_shaped else ''}to be sent"
            )
        return features
