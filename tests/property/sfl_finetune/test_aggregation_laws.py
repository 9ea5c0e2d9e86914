"""What the averages must keep, on layers that are not square and ranks that differ."""

from __future__ import annotations

import pytest
import torch

from sfl_finetune.aggregation import Factors, aggregate, fedavg, refactor, residual, shared_mean, stack
from sfl_finetune.errors import SettingInvalid
from sfl_finetune.ranks import leading

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
    weights = [3.0, 1.0, 1.0]
    mean = shared_mean(factors, weights, factors[0], shared_rank=4)
    missing = residual(factors, weights, mean)
    torch.testing.assert_close(mean.product() + missing, _mean_product(factors, weights), rtol=0, atol=1e-6)
    assert missing.shape == (_OUT, _IN)
    assert missing.abs().max() > 0.1
    plain = fedavg([{"a": one.a, "b": one.b} for one in factors], weights)
    assert torch.equal(mean.a, plain["a"])
    assert torch.equal(mean.b, plain["b"])


def test_whatever_its_rank_a_client_holds_the_whole_mean() -> None:
    factors, weights = _factors(2, 5, 3), [1.0, 2.0, 4.0]
    former = _factors(7)[0]
    mean = shared_mean(factors, weights, former, shared_rank=2)
    missing = residual(factors, weights, mean)
    for rank in (2, 3, 5, 7):
        part = leading({"q.lora_A.x": mean.a, "q.lora_B.x": mean.b}, rank)
        held = part["q.lora_B.x"] @ part["q.lora_A.x"]
        torch.testing.assert_close(held + missing, _mean_product(factors, weights), rtol=0, atol=1e-6)
    torch.testing.assert_close(mean.a[3:5], factors[1].a[3:])
    assert torch.equal(mean.a[5:], former.a[5:])
    # Nothing could be learnt in a rank whose row of A is zero as well.
    assert mean.a.abs().amax(dim=1).min() > 0


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
    mean = shared_mean(shared, [1.0, 3.0], shared[0], shared_rank=4)
    assert residual(shared, [1.0, 3.0], mean).abs().max() < 1e-12


def test_average_follows_the_weights() -> None:
    merged = fedavg([{"x": torch.tensor([0.0])}, {"x": torch.tensor([4.0])}], [3.0, 1.0])
    assert merged["x"].item() == 1.0


@pytest.mark.parametrize("weights", [[], [1.0], [0.0, 0.0], [-1.0, 2.0]])
def test_weights_that_are_none_are_refused(weights: list[float]) -> None:
    with pytest.raises(SettingInvalid):
        fedavg([{"x": torch.zeros(1)}, {"x": torch.zeros(1)}], weights)
