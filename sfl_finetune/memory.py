"""Memory of either side, measured: every tensor that lives during a step is followed from its making to its end.

On tensors of device "meta", which have shapes but no data, the same code predicts what a real step needs.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sfl_finetune.lora import AdapterSlots
from sfl_finetune.meters import TensorMeter
from sfl_finetune.optimisation import OptimiserSettings, make_optimiser
from sfl_finetune.split import client_segment, head_segment, server_segment
from sfl_finetune.wire import Message, encoded_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager

    from transformers import PreTrainedModel

    from sfl_finetune.anatomy import Anatomy
    from sfl_finetune.schemes import Scheme


@dataclass(frozen=True, kw_only=True, slots=True)
class SideMemory:
    """Where one side's bytes are."""

    base: int
    """Frozen weights."""
    adapters: int
    """Trainable weights of all seats."""
    optimiser: int
    """Moments of all seats."""
    held: int
    """Alive between a forward pass and its backward pass, for all batches in flight."""
    step_peak: int
    """Most that a step adds to weights and moments: what is held, recomputed, temporary, and gradients."""
    wire: int
    """Messages that wait."""

    @property
    def total(self) -> int:
        """Everything at the worst moment."""
        return self.base + self.adapters + self.optimiser + self.step_peak + self.wire

    def as_dict(self) -> dict[str, int]:
        """All fields with the total."""
        return asdict(self) | {"total": self.total}


@dataclass(frozen=True, kw_only=True, slots=True)
class StepShape:
    """Size of one client's batch."""

    batch_size: int
    num_tokens: int


def measure_server(
    model: PreTrainedModel,
    parts: Anatomy,
    cuts: Sequence[int],
    scheme: Scheme,
    shape: StepShape,
    *,
    is_u_shaped: bool = False,
    max_turns: int | None = None,
    beside: AbstractContextManager[object] | None = None,
) -> SideMemory:
    """The server's memory in one step of `len(cuts)` clients on random activations.

    Where clients are served in turn, `max_turns` turns are enough: each frees what it used. `beside` is entered for the
    turns alone, for a second meter.
    """
    seats = _seats(model, parts, cuts, scheme, is_u_shaped=is_u_shaped)
    weights = _unique(weight for segment, _, _ in seats for weight in segment.parameters())
    adapters = _unique(weight for _, adapter, _ in seats for weight in adapter)
    frozen = [weight for weight in weights if not weight.requires_grad]
    num_waiting = 0 if scheme.is_relay or scheme.all_in_flight else len(cuts) - 1
    waiting_bytes = message_bytes(model, shape, scheme, is_u_shaped=is_u_shaped) * num_waiting
    turns = seats if scheme.all_in_flight else seats[:max_turns]
    if scheme.is_batched:
        # One pass over everyone's texts; with mixed cuts there is one for each, so this is the most it can be.
        turns = [seats[list(cuts).index(min(cuts))]]
        shape = StepShape(batch_size=shape.batch_size * len(cuts), num_tokens=shape.num_tokens)
    with beside or nullcontext():
        held, peak = _run_server_steps(model, turns, scheme, shape, known=[*weights, *adapters])
    return SideMemory(
        base=_num_bytes(frozen),
        adapters=_num_bytes(adapters),
        # AdamW keeps two moments of the weight's own type, and its step count.
        optimiser=sum(_optimiser_bytes(adapter) for adapter in {id(a): a for _, a, _ in seats}.values()),
        held=held,
        step_peak=peak,
        wire=waiting_bytes,
    )


def _seats(
    model: PreTrainedModel, parts: Anatomy, cuts: Sequence[int], scheme: Scheme, *, is_u_shaped: bool
) -> list[Any]:
    shared: dict[int, tuple[nn.Module, AdapterSlots, tuple[nn.Parameter, ...]]] = {}
    seats: list[Any] = []
    for cut in cuts:
        if scheme.copies_base or cut not in shared:
            segment = server_segment(
                model, parts, cut_layer=cut, is_u_shaped=is_u_shaped, share_frozen=not scheme.copies_base
            ).train()
            if scheme.checkpointing:
                segment.checkpoint_activations()
            slots = AdapterSlots(segment)
            shared[cut] = (segment, slots, slots.current())
        segment_, slots, first = shared[cut]
        is_first = scheme.is_relay or not any(first is adapter for _, adapter, _ in seats)
        seats.append((segment_, first if is_first else slots.fresh(), slots))
    return seats


def _run_server_steps(
    model: PreTrainedModel, seats: Sequence[Any], scheme: Scheme, shape: StepShape, *, known: Iterable[Tensor]
) -> tuple[int, int]:
    device, dtype = model.device, model.dtype
    labels = torch.zeros(_label_shape(model, shape), dtype=torch.long, device=device)
    pending = []
    held = 0
    with TensorMeter() as meter:
        meter.ignore(known)
        for segment, adapter, slots in seats:
            slots.fill(adapter)
            received = torch.randn(
                shape.batch_size, shape.num_tokens, model.config.hidden_size, device=device, requires_grad=True
            )
            output = segment(received.to(dtype), attention_mask(model, shape), labels)
            pending.append((output if isinstance(output, Tensor) else output.loss, adapter, slots))
            del received, output
            held = max(held, meter.live_bytes)
            if not scheme.all_in_flight:
                _finish(pending)
        _finish(pending)
    return held, meter.peak_bytes


def _finish(pending: list[Any]) -> None:
    while pending:
        output, adapter, slots = pending.pop(0)
        slots.fill(adapter)
        # Features of a U-shaped split are answered by a gradient of their own shape.
        torch.autograd.backward(output, torch.ones_like(output) if output.dim() else None)
        for weight in adapter:
            weight.grad = None
        del output


def measure_client(
    model: PreTrainedModel,
    parts: Anatomy,
    cut_layer: int,
    scheme: Scheme,
    shape: StepShape,
    *,
    is_u_shaped: bool = False,
) -> SideMemory:
    """One client's memory in one step; its message out and the gradient in are counted as waiting.

    In a U-shaped split the head is the client's, and works while what was sent is still held.
    """
    segment = client_segment(model, parts, cut_layer=cut_layer).train()
    head = head_segment(model, parts).train() if is_u_shaped else None
    sides: list[nn.Module] = [segment] if head is None else [segment, head]
    adapter = tuple(weight for side in sides for weight in AdapterSlots(side).current())
    weights = _unique(weight for side in sides for weight in side.parameters())
    frozen = [weight for weight in weights if not weight.requires_grad]
    token_ids = torch.full((shape.batch_size, shape.num_tokens), 3, device=model.device)
    with TensorMeter() as meter:
        meter.ignore(weights)
        sent = segment(token_ids, attention_mask(model, shape))
        held = meter.live_bytes
        if head is not None:
            _run_head(head, model, shape)
        if sent.requires_grad:
            torch.autograd.backward(sent, torch.ones_like(sent))
    for weight in adapter:
        weight.grad = None
    return SideMemory(
        base=_num_bytes(frozen),
        adapters=_num_bytes(adapter),
        optimiser=_optimiser_bytes(adapter),
        held=held,
        step_peak=meter.peak_bytes,
        wire=2 * message_bytes(model, shape, scheme, is_u_shaped=is_u_shaped),
    )


def _run_head(head: nn.Module, model: PreTrainedModel, shape: StepShape) -> None:
    size = (shape.batch_size, shape.num_tokens, model.config.hidden_size)
    received = torch.randn(size, device=model.device, requires_grad=True)
    labels = torch.zeros(_label_shape(model, shape), dtype=torch.long, device=model.device)
    torch.autograd.backward(head(received.to(model.dtype), attention_mask(model, shape), labels).loss)


def measure_whole(model: PreTrainedModel, shape: StepShape) -> SideMemory:
    """Memory of the unsplit model in one step: the centralised scheme."""
    adapter = tuple(weight for weight in model.parameters() if weight.requires_grad)
    token_ids = torch.full((shape.batch_size, shape.num_tokens), 3, device=model.device)
    labels = torch.zeros(_label_shape(model, shape), dtype=torch.long, device=model.device)
    with TensorMeter() as meter:
        meter.ignore(model.parameters())
        loss = model(input_ids=token_ids, attention_mask=attention_mask(model, shape), labels=labels).loss
        held = meter.live_bytes
        torch.autograd.backward(loss)
    for weight in adapter:
        weight.grad = None
    return SideMemory(
        base=_num_bytes(weight for weight in model.parameters() if not weight.requires_grad),
        adapters=_num_bytes(adapter),
        optimiser=_optimiser_bytes(adapter),
        held=held,
        step_peak=meter.peak_bytes,
        wire=0,
    )


def attention_mask(model: PreTrainedModel, shape: StepShape) -> Tensor:
    """(B, 1, L, L): every token sees every other, in the form that models make of a padding mask."""
    size = (shape.batch_size, 1, shape.num_tokens, shape.num_tokens)
    return torch.ones(size, dtype=torch.bool, device=model.device)


def message_bytes(model: PreTrainedModel, shape: StepShape, scheme: Scheme, *, is_u_shaped: bool = False) -> int:
    """Size on the wire of one batch's activations; with its labels unless they stay at the client."""
    message = Message(
        kind="activations",
        client="site",
        round=0,
        step=0,
        features=_features(model, shape),
        attention_mask=torch.empty(shape.batch_size, shape.num_tokens, dtype=torch.long, device="meta"),
        labels=None if is_u_shaped else torch.empty(_label_shape(model, shape), dtype=torch.long, device="meta"),
    )
    return encoded_size(message, scheme.wire)


def features_bytes(model: PreTrainedModel, shape: StepShape, scheme: Scheme) -> int:
    """Size on the wire of one batch's features, or their gradient, without mask and labels."""
    message = Message(kind="features", client="site", round=0, step=0, features=_features(model, shape))
    return encoded_size(message, scheme.wire)


def _features(model: PreTrainedModel, shape: StepShape) -> Tensor:
    return torch.empty(shape.batch_size, shape.num_tokens, model.config.hidden_size, device="meta")


def _label_shape(model: PreTrainedModel, shape: StepShape) -> tuple[int, ...]:
    is_classifier = type(model).__name__.endswith("ForSequenceClassification")
    return (shape.batch_size,) if is_classifier else (shape.batch_size, shape.num_tokens)


def _optimiser_bytes(adapter: tuple[nn.Parameter, ...]) -> int:
    """Moments of a real optimiser after one real step on zero gradients."""
    optimiser = make_optimiser(adapter, OptimiserSettings())
    if optimiser is None:
        return 0
    for weight in adapter:
        weight.grad = torch.zeros_like(weight)
    optimiser.step()
    for weight in adapter:
        weight.grad = None
    moments = [value for state in optimiser.state_dict()["state"].values() for value in state.values()]
    return _num_bytes(value for value in moments if isinstance(value, Tensor))


def _unique(weights: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return list({id(weight): weight for weight in weights}.values())


def _num_bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
