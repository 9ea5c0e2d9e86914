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


def aggregate(
    states: Sequence[AdapterState],
    weights: Sequence[float],
    method: Method,
    *,
    former: AdapterState | None = None,
    shared_rank: int | None = None,
) -> AdapterState:
    """One adapter from several.

    Freezing A makes the plain average exact; `exact` is the plain average too, whose residual goes into the base. Where
    ranks differ, `former` is the global adapter before, whose shapes the new one has, and `shared_rank` what every
    client holds.
    """
    if method in {"fedavg", "freeze_a"}:
        return fedavg(states, weights)
    merged = fedavg(
        [{name: value for name, value in state.items() if not _is_factor(name)} for state in states], weights
    )
    whole = states[0] if former is None else former
    for name_a in [name for name in whole if _A in name]:
        name_b = name_a.replace(_A, _B)
        before = Factors(a=whole[name_a], b=whole[name_b])
        rank = len(before.a)
        held = [Factors(a=state[name_a], b=state[name_b]) for state in states]
        if method == "svd":
            factors = refactor(stack(held, weights), rank=rank)
        else:
            factors = shared_mean(held, weights, before, shared_rank=rank if shared_rank is None else shared_rank)
        merged[name_a], merged[name_b] = factors.a, factors.b
    return merged


def _is_factor(name: str) -> bool:
    return _A in name or _B in name


def fedavg(states: Sequence[Mapping[str, Tensor]], weights: Sequence[float]) -> AdapterState:
    """Weighted mean of every parameter, A and B apart.

    Source: McMahan et al. 2017, algorithm 1; inexact for the product of A and B.
    """
    return {
        name: _mean([state[name] for state in states], weights).to(first.dtype) for name, first in states[0].items()
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


def shared_mean(factors: Sequence[Factors], weights: Sequence[float], former: Factors, *, shared_rank: int) -> Factors:
    """Factors of `former`'s rank whose product every client holds, whatever its own rank.

    Only the leading `shared_rank` columns of B are averaged. The others are zero, so that a client without them misses
    nothing; their rows of A are the mean of those who have them, else `former`'s, so that they can be learnt anew.
    """
    a, b = former.a.clone(), torch.zeros_like(former.b)
    b[:, :shared_rank] = _mean([one.b[:, :shared_rank] for one in factors], weights)
    for rank in sorted({len(one.a) for one in factors}, reverse=True):
        holders = [position for position, one in enumerate(factors) if len(one.a) >= rank]
        if sum(weights[position] for position in holders) > 0:
            a[:rank] = _mean([factors[position].a[:rank] for position in holders], [weights[p] for p in holders])
    return Factors(a=a, b=b)


def residual(factors: Sequence[Factors], weights: Sequence[float], merged: Factors) -> Tensor:
    """What `merged` misses of the mean of the products, (out, in); belongs into the frozen base.

    Source: Singhal et al. 2024 (FedEx-LoRA), equation 7; ranks may differ.
    """
    return stack(factors, weights).product() - merged.product()


def _mean(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    shares = _shares(tensors, weights)
    return torch.stack([share * one.double() for share, one in zip(shares, tensors, strict=True)]).sum(dim=0)


def _shares(items: Sequence[object], weights: Sequence[float]) -> list[float]:
    total = sum(weights)
    if not items or len(items) != len(weights) or total <= 0 or min(weights) < 0:
        raise SettingInvalid(
            f"{len(items)} adapters with weights {list(weights)}; wanted one weight of 0 and up for each"
        )
    return [weight / total for weight in weights]
