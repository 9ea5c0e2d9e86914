"""Adapters: attached by peft, then taken apart into sets of parameters that can be swapped under one base."""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from sfl_finetune.errors import ModelUnsupported, SettingInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel

    from sfl_finetune.anatomy import Anatomy

Task = Literal["causal_lm", "classification"]

AdapterState = dict[str, Tensor]
"""Values of trainable parameters under their names in the unsplit model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraSettings:
    """How the adapter is made."""

    rank: int = 16
    alpha: float | None = None
    """Scale of the update; twice the rank where it is not given."""
    dropout: float = 0.0
    targets: tuple[str, ...] | Literal["all", "default"] = "all"
    """Names of the linear modules; `all` is every one inside a layer, `default` is peft's choice for the family."""
    head: Literal["classifier", "all"] = "classifier"
    """What a classifier trains whole: its last linear module, or everything linear behind the layers (a pooler)."""

    def __post_init__(self) -> None:
        """Refuse what peft would refuse later and less clearly."""
        if self.rank < 1:
            raise SettingInvalid(f"rank={self.rank} is no rank; allowed: 1 and up")
        if not 0.0 <= self.dropout < 1.0:
            raise SettingInvalid(f"dropout={self.dropout} is out of range; allowed: 0 up to but not including 1")
        if self.alpha is not None and not 0 < self.alpha < math.inf:
            raise SettingInvalid(f"alpha={self.alpha} must be above 0 and finite")

    def config(self, task: Task, model: PreTrainedModel, parts: Anatomy) -> PeftConfig:
        """Configuration, in peft's own form, of this adapter for `model`."""
        from peft import LoraConfig, TaskType
        from transformers.pytorch_utils import Conv1D

        targets: str | list[str] | None = list(self.targets)
        if isinstance(self.targets, str):
            targets = linear_targets(model, parts) if self.targets == "all" else None
        whole = None
        if self.head == "all" and task == "classification":
            whole = linear_parts(model, parts.back)
        check_rank(self.rank, model, parts)
        return LoraConfig(
            r=self.rank,
            lora_alpha=2 * self.rank if self.alpha is None else self.alpha,
            lora_dropout=self.dropout,
            target_modules=targets,
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
            task_type=TaskType.CAUSAL_LM if task == "causal_lm" else TaskType.SEQ_CLS,
            modules_to_save=whole,
        )


def check_rank(rank: int, model: PreTrainedModel, parts: Anatomy) -> None:
    """Refuse a rank that no matrix inside the layers could have; beyond it an adapter only takes memory."""
    most = max((min(module.weight.shape) for module in _linear_inside(model, parts).values()), default=rank)
    if rank > most:
        raise SettingInvalid(f"rank={rank} is above that of the model's largest matrix; allowed: 1 to {most}")


def linear_parts(model: PreTrainedModel, paths: Iterable[str]) -> list[str]:
    """Names of the parts among `paths` that have a linear module."""
    return [
        path.rpartition(".")[2]
        for path in paths
        if any(isinstance(module, nn.Linear) for module in model.get_submodule(path).modules())
    ]


def linear_targets(model: PreTrainedModel, parts: Anatomy) -> str | list[str]:
    """Every linear module inside a layer: by plain names where they are unambiguous, else as one pattern.

    peft's own `all-linear` also takes what lies outside the layers, and then refuses DistilBERT's classifier.
    """
    within = _linear_inside(model, parts)
    inside = sorted({name[len(parts.layers) + 1 :].partition(".")[2] for name in within})
    leaves = {name.rpartition(".")[2] for name in inside}
    outside = {name.rpartition(".")[2] for name in _linear(model) if name not in within}
    if not leaves & outside:
        return sorted(leaves)
    choices = "|".join(re.escape(name) for name in inside)
    return rf"(?:.*\.)?{re.escape(parts.layers)}\.\d+\.(?:{choices})"


def _linear_inside(model: PreTrainedModel, parts: Anatomy) -> dict[str, Any]:
    return {name: module for name, module in _linear(model).items() if name.startswith(parts.layers + ".")}


def _linear(model: PreTrainedModel) -> dict[str, Any]:
    from transformers.pytorch_utils import Conv1D

    return {name: module for name, module in model.named_modules() if isinstance(module, (nn.Linear, Conv1D))}


def attach(model: PreTrainedModel, config: PeftConfig, *, seed: int) -> PeftModel:
    """`model` with a fresh adapter, its base frozen; the adapter's first values depend on `seed` alone."""
    from peft import get_peft_model

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # peft 0.21 reads a property that transformers 5.23 renamed; its value is the same.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        torch.manual_seed(seed)
        return get_peft_model(model, config)


def keep_trainable_in_fp32(model: nn.Module, parts: Anatomy) -> None:
    """Give modules that are trained whole, such as a new head, fp32 weights over a bf16 base.

    Small steps vanish in bf16's 8 bits; peft sees to its own low-rank weights, but not to these.
    """
    for name, module in list(model.named_modules()):
        weights = list(module.parameters(recurse=False))
        is_low = any(weight.requires_grad and weight.dtype == torch.bfloat16 for weight in weights)
        if is_low:
            module.float()
            module.register_forward_pre_hook(_cast_to_fp32)
            is_in_head = name.startswith(parts.back) and isinstance(module, nn.Linear)
            if not is_in_head:
                module.register_forward_hook(_cast_to_bf16)


def _cast_to_fp32(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(one.float() if isinstance(one, Tensor) and one.is_floating_point() else one for one in inputs)


def _cast_to_bf16(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
    return output.to(torch.bfloat16)


def check_placement(model: PreTrainedModel, parts: Anatomy) -> None:
    """Refuse adapters whose parameters live outside layers, embedding and head, such as soft prompts."""
    places = (parts.layers, *parts.front, *parts.back)
    names = [name for name, weight in model.named_parameters() if weight.requires_grad]
    if not names:
        raise ModelUnsupported("the adapter has no trainable parameter")
    strays = [name for name in names if not name.startswith(tuple(f"{place}." for place in places))]
    if strays:
        raise ModelUnsupported(f"the adapter's parameter {strays[0]!r} belongs to no layer, so no segment can own it")


class AdapterSlots:
    """The places of a module's trainable parameters; filling them is a pointer swap, no weight is copied."""

    def __init__(self, module: nn.Module, *, prefix: str = "model.") -> None:
        """Remember every trainable parameter's place; `prefix` is cut from the names."""
        self.names: tuple[str, ...] = ()
        self._places: list[tuple[dict[str, Any], str]] = []
        for path, child in module.named_modules():
            for key, weight in child.named_parameters(recurse=False):
                if weight.requires_grad:
                    self.names += (f"{path}.{key}".removeprefix(prefix),)
                    # The module's own dictionary: `setattr` would search and register again at 20 times the cost.
                    self._places.append((child._parameters, key))  # noqa: SLF001 - torch has no public way to do this

    def fresh(self) -> tuple[nn.Parameter, ...]:
        """A set of new parameters with the current values."""
        return tuple(nn.Parameter(place[key].detach().clone()) for place, key in self._places)

    def current(self) -> tuple[nn.Parameter, ...]:
        """The parameters now in place."""
        return tuple(place[key] for place, key in self._places)

    def fill(self, adapter: Iterable[nn.Parameter]) -> None:
        """Put `adapter` in place of the current set."""
        for (place, key), weight in zip(self._places, adapter, strict=True):
            place[key] = weight


def state_of(names: Iterable[str], adapter: Iterable[nn.Parameter]) -> AdapterState:
    """A copy of the values of `adapter`."""
    return {name: weight.detach().clone() for name, weight in zip(names, adapter, strict=True)}


def load_state(names: Iterable[str], adapter: Iterable[nn.Parameter], state: Mapping[str, Tensor]) -> None:
    """Write the values of `state` into `adapter`, in place."""
    with torch.no_grad():
        for name, weight in zip(names, adapter, strict=True):
            if name not in state or state[name].shape != weight.shape:
                found = tuple(state[name].shape) if name in state else "nothing"
                raise ModelUnsupported(f"adapter parameter {name!r}: got {found}, wanted shape {tuple(weight.shape)}")
            weight.copy_(state[name])


def trainable_state(model: nn.Module) -> AdapterState:
    """A copy of every trainable value of an unsplit model."""
    return {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}
