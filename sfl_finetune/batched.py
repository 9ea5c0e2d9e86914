"""Several clients in one pass of the server: their texts in one batch, each text with its own client's adapter.

The large products with the frozen base are done once for all; only the small ones with the adapters are done apart.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sfl_finetune.errors import ModelUnsupported

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sfl_finetune.split import ServerSegment


def check_batchable(segment: nn.Module) -> None:
    """Refuse adapters whose parameters are not all in linear modules, as LoRA's are."""
    odd = [name for name, module in segment.named_modules() if _own(module) and not isinstance(module, nn.Linear)]
    if odd:
        raise ModelUnsupported(f"clients can't share a pass: the adapter's part {odd[0]!r} is no linear module")


@contextmanager
def side_by_side(
    segment: nn.Module, adapters: Sequence[Sequence[nn.Parameter]], counts: Sequence[int]
) -> Iterator[None]:
    """While it lasts, the first `counts[0]` texts of a batch go through the first adapter, the next through the next.

    Each adapter is in the order of `AdapterSlots(segment)`.
    """
    position = 0
    changed: list[nn.Module] = []
    try:
        for module in segment.modules():
            keys = _own(module)
            if keys:
                rows = slice(position, position + len(keys))
                sets = [dict(zip(keys, adapter[rows], strict=True)) for adapter in adapters]
                setattr(module, "forward", _Apart(sets, counts))  # noqa: B010 - an instance's own forward
                changed.append(module)
                position += len(keys)
        yield
    finally:
        for module in changed:
            delattr(module, "forward")


class _Apart:
    """A linear module's forward pass with weights by client."""

    def __init__(self, sets: Sequence[dict[str, nn.Parameter]], counts: Sequence[int]) -> None:
        self._sets, self._counts = sets, list(counts)

    def __call__(self, inputs: Tensor) -> Tensor:
        parts = torch.split(inputs, self._counts)
        return torch.cat(
            [
                functional.linear(part, one["weight"], one.get("bias"))
                for part, one in zip(parts, self._sets, strict=True)
            ]
        )


def losses_together(
    segment: ServerSegment, activations: Sequence[Tensor], masks: Sequence[Tensor | None], labels: Sequence[Tensor]
) -> list[Tensor]:
    """Each client's own mean loss; shorter batches (B, L, D) are padded to the longest."""
    longest = max(one.shape[1] for one in activations)
    features = torch.cat([functional.pad(one, (0, 0, 0, longest - one.shape[1])) for one in activations])
    filled = [torch.ones(one.shape[:2]) if mask is None else mask for one, mask in zip(activations, masks, strict=True)]
    mask = torch.cat([functional.pad(one, (0, longest - one.shape[1])) for one in filled])
    logits: Tensor = segment(features.to(segment.model.dtype), mask.to(features.device)).logits
    parts = torch.split(logits, [len(one) for one in activations])
    return [
        _loss(segment.model, part[:, : wanted.shape[1]] if wanted.dim() == 2 else part, wanted.to(part.device))
        for part, wanted in zip(parts, labels, strict=True)
    ]


def _loss(model: Any, logits: Tensor, labels: Tensor) -> Tensor:
    """The model family's own loss of one client's texts."""
    if labels.dim() == 1:
        return functional.cross_entropy(logits, labels)
    # A slice of longer rows is no single block of memory, which the loss wants to view as one.
    loss: Tensor = model.loss_function(logits=logits.contiguous(), labels=labels, vocab_size=model.config.vocab_size)
    return loss


def _own(module: nn.Module) -> list[str]:
    return [key for key, weight in module.named_parameters(recurse=False) if weight.requires_grad]
