"""What a step costs: operations counted by running the segments on tensors without data, bytes by encoding messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from sfl_finetune.anatomy import anatomy
from sfl_finetune.errors import ModelUnsupported
from sfl_finetune.lora import AdapterSlots, LoraSettings, Task, attach, keep_trainable_in_fp32
from sfl_finetune.memory import StepShape, attention_mask, features_bytes, message_bytes
from sfl_finetune.split import HeadSegment, client_segment, head_segment, server_segment

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from sfl_finetune.anatomy import Anatomy
    from sfl_finetune.schemes import Precision, Scheme


@dataclass(frozen=True, kw_only=True, slots=True)
class StepWork:
    """One client's local step."""

    client_forward_flop: float
    client_backward_flop: float
    server_flop: float
    """Forward and backward; with checkpointing the second forward pass too."""
    uplink_bytes: int
    downlink_bytes: int
    client_adapter_bytes: int
    """The client's part of the adapter, exchanged once a round."""
    head_flop: float = 0.0
    """Forward and backward of the head, where a U-shaped split has it at the client."""
    features_bytes: int = 0
    """U-shaped split only: the features sent to the head; their gradient comes back in about as many."""


def shape_only_model(
    config: PretrainedConfig, task: Task, lora: LoraSettings, *, precision: Precision = "fp32"
) -> tuple[PreTrainedModel, Anatomy]:
    """The model with its adapter on device "meta": shapes, no data."""
    return model_of(config, task, lora, precision=precision, device="meta")


def model_of(
    config: PretrainedConfig, task: Task, lora: LoraSettings, *, precision: Precision = "fp32", device: str = "cpu"
) -> tuple[PreTrainedModel, Anatomy]:
    """A model with random weights and a fresh adapter, in training mode; raises ModelUnsupported for want of a head."""
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    auto = AutoModelForCausalLM if task == "causal_lm" else AutoModelForSequenceClassification
    with torch.device(device):
        try:
            model = auto.from_config(config, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
        except ValueError as error:
            raise ModelUnsupported(
                f"a model of type {config.model_type!r} can't be built for task {task!r}: {str(error).splitlines()[0]}"
            ) from error
        model.config.use_cache = False
        parts = anatomy(model)
        tuned = attach(model, lora.config(task, model, parts), seed=0)
    whole: PreTrainedModel = tuned.base_model.model.train()
    keep_trainable_in_fp32(whole, parts)
    return whole, parts


def count_step(
    model: PreTrainedModel,
    parts: Anatomy,
    cut_layer: int,
    scheme: Scheme,
    shape: StepShape,
    *,
    is_u_shaped: bool = False,
) -> StepWork:
    """Operations and bytes of one step; `model` lies on device "meta"."""
    client = client_segment(model, parts, cut_layer=cut_layer).train()
    server = server_segment(model, parts, cut_layer=cut_layer, is_u_shaped=is_u_shaped).train()
    head = head_segment(model, parts).train() if is_u_shaped else None
    if scheme.checkpointing:
        server.checkpoint_activations()
    token_ids = torch.full((shape.batch_size, shape.num_tokens), 3, device="meta")
    labels = token_ids if _is_causal(model) else token_ids[:, 0]
    mask = attention_mask(model, shape)
    with FlopCounterMode(display=False) as client_forward:
        sent = client(token_ids, mask)
    received = sent.detach().requires_grad_()
    with FlopCounterMode(display=False) as server_forward:
        output = server(received, mask, labels)
    head_flop, gradient = (0.0, None) if head is None else _run_head(head, output, mask, labels)
    with FlopCounterMode(display=False) as server_backward:
        torch.autograd.backward(output.loss if head is None else output, gradient)
    with FlopCounterMode(display=False) as client_backward:
        if sent.requires_grad:
            torch.autograd.backward(sent, received.grad)
    size = message_bytes(model, shape, scheme, is_u_shaped=is_u_shaped)
    features_size = features_bytes(model, shape, scheme)
    adapter = [weight for side in (client, head) if side is not None for weight in AdapterSlots(side).current()]
    return StepWork(
        client_forward_flop=client_forward.get_total_flops(),
        client_backward_flop=client_backward.get_total_flops(),
        server_flop=server_forward.get_total_flops() + server_backward.get_total_flops(),
        uplink_bytes=size,
        downlink_bytes=features_size if is_u_shaped else size,
        client_adapter_bytes=sum(weight.numel() * weight.element_size() for weight in adapter),
        head_flop=head_flop,
        features_bytes=features_size if is_u_shaped else 0,
    )


def _run_head(head: HeadSegment, features: Tensor, mask: Tensor, labels: Tensor) -> tuple[float, Tensor | None]:
    """Operations of the client's head on the features that a U-shaped split sends it, and their gradient."""
    received = features.detach().requires_grad_()
    with FlopCounterMode(display=False) as both:
        torch.autograd.backward(head(received, mask, labels).loss)
    return both.get_total_flops(), received.grad


def _is_causal(model: PreTrainedModel) -> bool:
    return not type(model).__name__.endswith("ForSequenceClassification")
