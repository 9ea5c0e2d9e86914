"""Features and their gradients in 8 or 4 bits: symmetric, one scale a token (int8) or a group of features (int4).

Scales are bf16: fp16 would round the scales of small gradients to zero.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_INT4_GROUP = 64


def int4_group(num_features: int) -> int:
    """Features that share a scale: a divisor of `num_features`, at most 64."""
    return math.gcd(num_features, _INT4_GROUP)


def quantise_int8(values: Tensor) -> tuple[Tensor, Tensor]:
    """Codes (..., D) in int8 and scales (..., 1) in bf16."""
    return _scaled(values, levels=127)


def dequantise_int8(codes: Tensor, scales: Tensor) -> Tensor:
    """Values in fp32, within half a scale of the original plus the scale's own rounding."""
    return codes.float() * scales.float()


def quantise_int4(values: Tensor) -> tuple[Tensor, Tensor]:
    """Two codes a byte, (..., D / 2) in uint8, and scales (..., D / group) in bf16; D is even."""
    group = int4_group(values.shape[-1])
    codes, scales = _scaled(_grouped(values, group), levels=7)
    nibbles = (codes.flatten(-2) + 8).to(torch.uint8)
    return nibbles[..., 0::2] | (nibbles[..., 1::2] << 4), scales.squeeze(-1)


def dequantise_int4(packed: Tensor, scales: Tensor) -> Tensor:
    """Values in fp32, (..., D)."""
    codes = torch.stack((packed & 15, packed >> 4), dim=-1).flatten(-2).to(torch.int8) - 8
    group = codes.shape[-1] // scales.shape[-1]
    return (_grouped(codes, group).float() * scales.float().unsqueeze(-1)).flatten(-2)


def _grouped(values: Tensor, group: int) -> Tensor:
    return values.reshape(*values.shape[:-1], -1, group)


def _scaled(values: Tensor, *, levels: int) -> tuple[Tensor, Tensor]:
    largest = values.detach().float().abs().amax(dim=-1, keepdim=True)
    scales = (largest / levels).to(torch.bfloat16)
    steps = values.detach().float() / scales.float().clamp_min(torch.finfo(torch.bfloat16).tiny)
    return steps.round().clamp(-levels, levels).to(torch.int8), scales
