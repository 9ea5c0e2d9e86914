"""Muon takes the steps that torch's own takes, in the precision that the device is fast at."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agent.pretraining import muon
from agent.pretraining.muon import Muon, orthogonal


@pytest.mark.parametrize("is_fast", [True, False])
@pytest.mark.parametrize("shape", [(3, 12, 12), (2, 8, 24), (2, 24, 8)])
def test_an_update_becomes_nearly_orthogonal(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int, int], is_fast: bool
) -> None:
    monkeypatch.setattr(muon, "is_bf16_fast", lambda _: is_fast)
    update = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    singular = torch.linalg.svdvals(orthogonal(update).float())
    assert orthogonal(update).shape == update.shape
    assert float(singular.min()) > 0.5
    assert float(singular.max()) < 1.3


def test_steps_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon, "is_bf16_fast", lambda _: True)
    generator = torch.Generator().manual_seed(2)
    starts = [torch.randn(shape, generator=generator) for shape in ((6, 9), (9, 6), (6, 9), (6, 6))]
    ours, theirs = ([nn.Parameter(start.clone()) for start in starts] for _ in range(2))
    optimisers = (
        Muon(ours, lr=0.05, weight_decay=0.01),
        torch.optim.Muon(theirs, lr=0.05, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(4):
        gradients = [torch.randn(start.shape, generator=generator) for start in starts]
        for parameters, optimiser in zip((ours, theirs), optimisers, strict=True):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient.clone()
            optimiser.step()
    for mine, its in zip(ours, theirs, strict=True):
        assert float((mine - its).detach().abs().max()) < 5e-3


def test_a_matrix_without_a_gradient_stays() -> None:
    matrix = nn.Parameter(torch.ones(2, 2))
    Muon([matrix], lr=0.1, weight_decay=0.5).step()
    assert bool((matrix == 1.0).all())
