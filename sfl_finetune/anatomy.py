"""Where a Hugging Face transformer keeps its layers, found by watching it run rather than by a table of families."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from sfl_finetune.errors import ModelUnsupported

if TYPE_CHECKING:
    from transformers import PreTrainedModel


_SOME_TOKEN = 3
"""Any id that is neither padding nor out of a small vocabulary."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Anatomy:
    """Paths of the parts of one model."""

    backbone: str
    """Path of the headless model inside the model."""
    layers: str
    """Path of the list of transformer layers inside the model."""
    num_layers: int
    front: tuple[str, ...]
    """Parts with parameters that run before the first layer: embeddings and the like."""
    back: tuple[str, ...]
    """Parts with parameters that run after the last layer: final norm, pooler, head."""


def anatomy(model: PreTrainedModel) -> Anatomy:
    """Where `model` keeps its embedding, layers and head.

    What hangs beside the path to the layer list is front or back by its first call in a run on two tokens.
    """
    backbone_path = model.base_model_prefix
    if not backbone_path or not isinstance(getattr(model, backbone_path, None), nn.Module):
        raise ModelUnsupported(
            f"{type(model).__name__} has no head over a backbone; wanted a model such as LlamaForCausalLM"
        )
    layers_path = _find_layers(model, backbone_path)
    layers = model.get_submodule(layers_path)
    beside = _modules_beside(model, layers_path)
    called_before, called_after = _watch(model, beside, next(iter(layers.children())))
    return Anatomy(
        backbone=backbone_path,
        layers=layers_path,
        num_layers=len(list(layers.children())),
        front=tuple(path for path in beside if path in called_before),
        back=tuple(path for path in beside if path in called_after),
    )


def _find_layers(model: PreTrainedModel, backbone_path: str) -> str:
    found = [
        f"{backbone_path}.{name}"
        for name, module in model.get_submodule(backbone_path).named_modules()
        if isinstance(module, nn.ModuleList)
        and len(module) == model.config.num_hidden_layers
        and all(isinstance(layer, GradientCheckpointingLayer) for layer in module)
    ]
    if len(found) != 1:
        raise ModelUnsupported(
            f"{type(model).__name__} has {len(found)} lists of {model.config.num_hidden_layers} transformer layers; "
            "a model to be split has exactly one"
        )
    return found[0]


def _modules_beside(model: PreTrainedModel, layers_path: str) -> tuple[str, ...]:
    """Children with parameters of every module on the way from the model to its layers, in definition order."""
    steps = layers_path.split(".")
    ancestors = [".".join(steps[:depth]) for depth in range(len(steps) + 1)]
    return tuple(
        f"{parent}.{name}" if parent else name
        for parent, on_path in pairwise(ancestors)
        for name, child in model.get_submodule(parent).named_children()
        if (f"{parent}.{name}" if parent else name) != on_path and any(True for _ in child.parameters())
    )


def _watch(model: PreTrainedModel, paths: tuple[str, ...], first_layer: nn.Module) -> tuple[set[str], set[str]]:
    before: set[str] = set()
    after: set[str] = set()
    started: list[bool] = []

    def note(path: str) -> Any:
        # A part called on both sides of the layers is front here and refused by the equality check of its family.
        return lambda *_: (after if started else before).add(path)

    hooks = [model.get_submodule(path).register_forward_pre_hook(note(path)) for path in paths]
    hooks.append(first_layer.register_forward_pre_hook(lambda *_: started.append(True)))
    was_training = model.training
    try:
        model.eval()
        with torch.no_grad():
            # A ready-made mask: to make one, its values are looked at, which a model on device "meta" has not.
            mask = torch.ones((1, 1, 2, 2), dtype=torch.bool, device=model.device)
            model(input_ids=torch.full((1, 2), _SOME_TOKEN, device=model.device), attention_mask=mask)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return before, after
