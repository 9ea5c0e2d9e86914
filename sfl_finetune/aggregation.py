"""Merging the clients' adapters.

The update of a layer is W = s B A with A (rank, in) and B (out, rank). The mean of the B times the mean of the A is not
the mean of the products, so the exact rules work on products or freeze A.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sfl_finetune.errors import SettingInvalid
from sfl_finetune.lora import AdapterState

Method = Literal["fedavg", "freeze_a", "svd", "exact"]

_A, _B = ".lora_A.", ".lora_B."


@dataclass(frozen=True, kw_only=True, slots=True)
class Factors:
    """A low-rank matrix `b @ a`."""

    a: Tensor
    """(rank, in)"""
    b: Tensor
    """(out, rank)"""

    def product(self) -> Tensor:
        """The matrix itself, (out, in)."""
        return self.b @ self.a


def aggregate(states: Sequence[AdapterState], weights: Sequence[float], method: Method) -> AdapterState:
    """One adapter from several.

    Freezing A makes the plain average exact; `exact` is the plain average too, whose residual goes into the base.
    """
    merged = fedavg(states, weights)
    if method == "svd":
        for name_a in [name for name in merged if _A in name]:
            name_b = name_a.replace(_A, _B)
            stacked = stack([Factors(a=state[name_a], b=state[name_b]) for state in states], weights)
            factors = refactor(stacked, rank=merged[name_a].shape[0])
            merged[name_a], merged[name_b] = factors.a, factors.b
    return merged


def fedavg(states: Sequence[Mapping[str, Tensor]], weights: Sequence[float]) -> AdapterState:
    """Weighted mean of every parameter, A and B apart.

    Source: McMahan et al. 2017, algorithm 1; inexact for the product of A and B.
    """
    shares = _shares(states, weights)
    return {
        name: torch.stack([share * state[name].double() for share, state in zip(shares, states, strict=True)])
        .sum(dim=0)
        .to(first.dtype)
        for name, first in states[0].items()
    }


def stack(factors: Sequence[Factors], weights: Sequence[float]) -> Factors:
    """The exact weighted mean of the products, of rank at most the sum of the ranks, which may differ.

    Source: Wang et al. 2024 (FLoRA), equation 3.
    """
    shares = _shares(factors, weights)
    return Factors(
        a=torch.cat([one.a for one in factors]),
        b=torch.cat([share * one.b for share, one in zip(shares, factors, strict=True)], dim=1),
    )


def refactor(factors: Factors, *, rank: int) -> Factors:
    """The nearest factors of `rank`, balanced between both sides; found without forming the matrix.

    Source: Eckart and Young 1936; QR of both factors leaves a small matrix to decompose.
    """
    q_b, r_b = torch.linalg.qr(factors.b.double())
    q_a, r_a = torch.linalg.qr(factors.a.double().T)
    left, sizes, right = torch.linalg.svd(r_b @ r_a.T)
    kept = min(rank, int(sizes.numel()))
    root = sizes[:kept].sqrt()
    b = torch.zeros(factors.b.shape[0], rank, dtype=torch.float64)
    a = torch.zeros(rank, factors.a.shape[1], dtype=torch.float64)
    b[:, :kept] = q_b @ left[:, :kept] * root
    a[:kept] = root[:, None] * (q_a @ right[:kept].T).T
    return Factors(a=a.to(factors.a.dtype), b=b.to(factors.b.dtype))


@dataclass(frozen=True, kw_only=True, slots=True)
class ExactMean:
    """Averaged factors and what they miss."""

    factors: Factors
    residual: Tensor
    """(out, in): the mean of the products less the product of the means; belongs into the frozen base."""


def exact_mean(factors: Sequence[Factors], weights: Sequence[float]) -> ExactMean:
    """FedAvg of equal-rank factors with the residual that makes it exact.

    Source: Singhal et al. 2024 (FedEx-LoRA), equation 7.
    """
    shares = _shares(factors, weights)
    mean = Factors(
        a=torch.stack([share * one.a for share, one in zip(shares, factors, strict=True)]).sum(dim=0),
        b=torch.stack([share * one.b for share, one in zip(shares, factors, strict=True)]).sum(dim=0),
    )
    return ExactMean(factors=mean, residual=stack(factors, weights).product() - mean.product())


def _shares(items: Sequence[object], weights: Sequence[float]) -> list[float]:
    total = sum(weights)
    if not items or len(items) != len(weights) or total <= 0 or min(weights) < 0:
        raise SettingInvalid(
            f"{len(items)} adapters with weights {list(weights)}; wanted one weight of 0 and up for each"
        )
    return [weight / total for weight in weights]
