"""Which texts a client learns from at each step: a function of seed, site and step, so nothing need be stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
import torch

from sfl_finetune.corpus import IGNORED, Example, Site, num_targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from sfl_finetune.lora import Task

_BATCHES_SORTED_TOGETHER = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Texts padded on the right to the longest of them."""

    token_ids: Tensor
    """(B, L)"""
    attention_mask: Tensor
    """(B, L)"""
    labels: Tensor
    """(B, L) for causal LM, (B,) for classification."""
    num_targets: int


def batches_per_epoch(site: Site, batch_size: int) -> int:
    """Steps in which a site sees each of its texts once."""
    return -(-len(site.examples) // batch_size)


def batch_at(site: Site, step: int, *, batch_size: int, task: Task, seed: int) -> Batch:
    """The batch of a client's `step`, counted from 0 over all rounds."""
    per_epoch = batches_per_epoch(site, batch_size)
    epoch, position = divmod(step, per_epoch)
    order = _epoch_order(site, epoch, batch_size=batch_size, seed=seed)
    return collate([site.examples[index] for index in order[position]], task)


def _epoch_order(site: Site, epoch: int, *, batch_size: int, seed: int) -> list[list[int]]:
    """Shuffled batches of texts of similar length: sorting runs of 8 batches saves most of the padding."""
    rng = np.random.default_rng([seed, crc32(site.name.encode()), epoch])
    shuffled = rng.permutation(len(site.examples)).tolist()
    pool = batch_size * _BATCHES_SORTED_TOGETHER
    batches = []
    for start in range(0, len(shuffled), pool):
        by_length = sorted(shuffled[start : start + pool], key=lambda index: len(site.examples[index].token_ids))
        batches += [by_length[first : first + batch_size] for first in range(0, len(by_length), batch_size)]
    return [batches[index] for index in rng.permutation(len(batches)).tolist()]


def collate(examples: Sequence[Example], task: Task) -> Batch:
    """One padded batch."""
    longest = max(len(example.token_ids) for example in examples)
    token_ids = torch.zeros((len(examples), longest), dtype=torch.long)
    mask = torch.zeros_like(token_ids)
    labels = torch.full_like(token_ids, IGNORED)
    for row, example in enumerate(examples):
        length = len(example.token_ids)
        token_ids[row, :length] = torch.tensor(example.token_ids)
        mask[row, :length] = 1
        if task == "causal_lm":
            labels[row, :length] = torch.tensor(example.targets)
    if task == "classification":
        labels = torch.tensor([example.targets[0] for example in examples])
    return Batch(token_ids=token_ids, attention_mask=mask, labels=labels, num_targets=num_targets(examples))
