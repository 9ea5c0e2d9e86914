"""A transformer cut in segments, without a copied line of model code.

Each segment is the model's own class with some submodules exchanged: layers it does not own pass their input on, the
last layer before its range hands in what came over the link, embeddings it does not own are hollow. Masks, rotary
angles, heads and losses stay the model's own. Layer numbers stay global, so a parameter has one name in every segment.

Shapes: B texts, L tokens, D features.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sfl_finetune.errors import ModelUnsupported, SettingInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transformers import PreTrainedModel

    from sfl_finetune.anatomy import Anatomy


class _Skip(nn.Module):
    """A layer that another segment owns."""

    def forward(self, hidden_BLD: Tensor, *_: Any, **__: Any) -> Tensor:
        return hidden_BLD


class _Received(nn.Module):
    """The last layer before the segment: whatever it is given, it hands on what came over the link."""

    def __init__(self) -> None:
        super().__init__()
        self.activations: Tensor | None = None

    def forward(self, *_: Any, **__: Any) -> Tensor | None:
        return self.activations


class _Hollow(nn.Module):
    """An embedding, norm or pooler that another segment owns: passes features on, adds nothing to them."""

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        tensors = [value for value in (*inputs, *named.values()) if isinstance(value, Tensor)]
        # A 0-d zero adds nothing and doesn't promote bf16 to fp32, as a position embedding of the wrong type would.
        return next((t for t in tensors if t.is_floating_point()), tensors[0].new_zeros((), dtype=torch.float32))


class Segment(nn.Module):
    """Layers [start, stop) of a model, with its embedding where start is 0 and its head where `has_head`."""

    def __init__(self, model: PreTrainedModel, parts: Anatomy, *, start: int, stop: int, has_head: bool) -> None:
        """Exchange submodules of `model`, which belongs to the segment from here on."""
        super().__init__()
        self.model = model
        self.start, self.stop, self.has_head = start, stop, has_head
        model.config.use_cache = False
        self._received = _Received()
        self._run: nn.Module = model if has_head else model.get_submodule(parts.backbone)
        layers = cast("nn.ModuleList", model.get_submodule(parts.layers))
        self._owned = tuple(layers[start:stop])
        for index in [*range(start), *range(stop, parts.num_layers)]:
            layers[index] = self._received if index == start - 1 else _Skip()
        for path in (*(parts.front if start else ()), *(() if has_head else parts.back)):
            model.set_submodule(path, _Hollow())

    def forward(self, inputs: Tensor, attention_mask_BL: Tensor | None, labels: Tensor | None = None) -> Any:
        """Features (B, L, D), or the model's own output with loss and logits where the segment has the head.

        `inputs` are token ids (B, L) where the segment has the embedding, features (B, L, D) elsewhere.
        """
        given: dict[str, Any] = {"attention_mask": attention_mask_BL}
        if self.has_head:
            given["labels"] = labels
        if self.start == 0 and not inputs.is_floating_point():
            output = self._run(input_ids=inputs, **given)
        else:
            self._received.activations = inputs
            try:
                output = self._run(inputs_embeds=inputs.detach(), **given)
            finally:
                self._received.activations = None
        return output if self.has_head else output.last_hidden_state

    def checkpoint_activations(self) -> None:
        """From now on keep only each layer's input, and compute the layer again in the backward pass."""
        checkpoint_layers(self._owned)


class ClientSegment(Segment):
    """The embedding and the layers below the cut."""


class ServerSegment(Segment):
    """The layers from the cut up; with the head unless the split is U-shaped."""


class HeadSegment(Segment):
    """What follows the last layer: in a U-shaped split the client keeps it, and the labels with it."""


def checkpoint_layers(layers: Iterable[nn.Module]) -> None:
    """Let each of `layers` keep its input only, and compute itself again in the backward pass."""
    for layer in layers:
        # The contract of GradientCheckpointingLayer, without the input hooks that the model-wide switch adds.
        setattr(layer, "gradient_checkpointing", True)  # noqa: B010 - no attribute torch's stubs know
        setattr(layer, "_gradient_checkpointing_func", partial(checkpoint, use_reentrant=False))  # noqa: B010 - same


def check_cut(cut_layer: int, num_layers: int) -> None:
    """Refuse a cut that leaves the client or the server without a layer."""
    if not 1 <= cut_layer < num_layers:
        raise SettingInvalid(f"cut_layer={cut_layer} lies outside the model; allowed: 1 to {num_layers - 1}")


def client_segment(model: PreTrainedModel, parts: Anatomy, *, cut_layer: int) -> ClientSegment:
    """The client's side; frozen weights are shared with `model`, trainable ones are the segment's own."""
    check_cut(cut_layer, parts.num_layers)
    return ClientSegment(_twin(model, share_frozen=True), parts, start=0, stop=cut_layer, has_head=False)


def server_segment(
    model: PreTrainedModel, parts: Anatomy, *, cut_layer: int, is_u_shaped: bool = False, share_frozen: bool = True
) -> ServerSegment:
    """The server's side; with `share_frozen` false it owns a copy of the base as well."""
    check_cut(cut_layer, parts.num_layers)
    return ServerSegment(
        _twin(model, share_frozen=share_frozen), parts, start=cut_layer, stop=parts.num_layers, has_head=not is_u_shaped
    )


def head_segment(model: PreTrainedModel, parts: Anatomy) -> HeadSegment:
    """The client's second half in a U-shaped split."""
    twin = _twin(model, share_frozen=True)
    return HeadSegment(twin, parts, start=parts.num_layers, stop=parts.num_layers, has_head=True)


def _twin(model: PreTrainedModel, *, share_frozen: bool) -> PreTrainedModel:
    if not hasattr(model, "base_model_prefix"):
        raise ModelUnsupported(f"{type(model).__name__} is not a transformer model; unwrap it first")
    memo = {id(weight): weight for weight in model.parameters() if share_frozen and not weight.requires_grad}
    return copy.deepcopy(model, memo)
