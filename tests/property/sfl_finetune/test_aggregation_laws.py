"""What the averages must keep, on layers that are not square and ranks that differ."""

from __future__ import annotations

import pytest
import torch

from sfl_finetune.aggregation import Factors, aggregate, exact_mean, fedavg, refactor, stack
from sfl_finetune.errors import SettingInvalid

_IN, _OUT = 13, 29


def _factors(*ranks: int) -> list[Factors]:
    generator = torch.Generator().manual_seed(5)
    return [
        Factors(
            a=torch.randn(rank, _IN, generator=generator, dtype=torch.float64),
            b=torch.randn(_OUT, rank, generator=generator, dtype=torch.float64),
        )
        for rank in ranks
    ]


def _mean_product(factors: list[Factors], weights: list[float]) -> torch.Tensor:
    products = [weight * one.b @ one.a for weight, one in zip(weights, factors, strict=True)]
    return torch.stack(products).sum(dim=0) / sum(weights)


def test_stacking_is_exact_for_unequal_ranks() -> None:
    factors = _factors(2, 5, 3)
    stacked = stack(factors, [1.0, 2.0, 4.0])
    assert stacked.a.shape == (10, _IN)
    torch.testing.assert_close(stacked.product(), _mean_product(factors, [1.0, 2.0, 4.0]), rtol=0, atol=1e-6)


def test_mean_and_residual_together_are_exact() -> None:
    factors = _factors(4, 4, 4)
    mean = exact_mean(factors, [3.0, 1.0, 1.0])
    truth = _mean_product(factors, [3.0, 1.0, 1.0])
    torch.testing.assert_close(mean.factors.product() + mean.residual, truth, rtol=0, atol=1e-6)
    assert mean.residual.shape == (_OUT, _IN)
    assert mean.residual.abs().max() > 0.1


def test_refactoring_to_the_full_rank_loses_nothing() -> None:
    factors = _factors(2, 5, 3)
    stacked = stack(factors, [1.0, 2.0, 4.0])
    torch.testing.assert_close(refactor(stacked, rank=10).product(), stacked.product(), rtol=0, atol=1e-6)
    wide = refactor(stack(_factors(12, 12), [1.0, 1.0]), rank=20)
    assert (wide.a.shape, wide.b.shape) == ((20, _IN), (_OUT, 20))
    torch.testing.assert_close(wide.product(), _mean_product(_factors(12, 12), [1.0, 1.0]), rtol=0, atol=1e-6)


def test_refactoring_is_the_best_of_its_rank() -> None:
    stacked = stack(_factors(6, 6), [1.0, 1.0])
    error = float((refactor(stacked, rank=4).product() - stacked.product()).norm())
    assert error == pytest.approx(float(torch.linalg.svdvals(stacked.product())[4:].norm()), abs=1e-9)


def test_svd_aggregation_is_nearer_the_true_mean_than_fedavg() -> None:
    factors = _factors(4, 4, 4)
    states = [{"q.lora_A.default.weight": one.a, "q.lora_B.default.weight": one.b} for one in factors]
    truth = _mean_product(factors, [1.0, 1.0, 1.0])

    def error(merged: dict[str, torch.Tensor]) -> float:
        return float((merged["q.lora_B.default.weight"] @ merged["q.lora_A.default.weight"] - truth).norm())

    weights = [1.0, 1.0, 1.0]
    assert error(aggregate(states, weights, "svd")) < error(aggregate(states, weights, "fedavg"))


def test_with_one_shared_a_the_plain_average_is_exact() -> None:
    factors = _factors(4, 4)
    shared = [Factors(a=factors[0].a, b=one.b) for one in factors]
    mean = exact_mean(shared, [1.0, 3.0])
    assert mean.residual.abs().max() < 1e-12


def test_average_follows_the_weights() -> None:
    merged = fedavg([{"x": torch.tensor([0.0])}, {"x": torch.tensor([4.0])}], [3.0, 1.0])
    assert merged["x"].item() == 1.0


@pytest.mark.parametrize("weights", [[], [1.0], [0.0, 0.0], [-1.0, 2.0]])
def test_weights_that_are_none_are_refused(weights: list[float]) -> None:
    with pytest.raises(SettingInvalid):
        fedavg([{"x": torch.zeros(1)}, {"x": torch.zeros(1)}], weights)
