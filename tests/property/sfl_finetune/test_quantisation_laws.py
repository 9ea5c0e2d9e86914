from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfl_finetune.quantisation import dequantise_int4, dequantise_int8, int4_group, quantise_int4, quantise_int8

_seeds = st.integers(0, 2**31)
_scales = st.floats(1e-12, 1e12)
_widths = st.sampled_from([2, 6, 16, 64, 96, 384])


def _values(seed: int, width: int, scale: float) -> torch.Tensor:
    return torch.randn(3, 5, width, generator=torch.Generator().manual_seed(seed)) * scale


@settings(max_examples=40, deadline=None)
@given(_seeds, _widths, _scales)
def test_int8_is_within_one_step_of_the_truth(seed: int, width: int, scale: float) -> None:
    values = _values(seed, width, scale)
    step = values.abs().amax(-1, keepdim=True) / 127
    # Half a step by rounding, and half a step by the bf16 scale at the largest value.
    assert ((dequantise_int8(*quantise_int8(values)) - values).abs() <= 1.05 * step).all()


@settings(max_examples=40, deadline=None)
@given(_seeds, _widths, _scales)
def test_int4_is_within_one_step_of_its_group(seed: int, width: int, scale: float) -> None:
    values = _values(seed, width, scale)
    group = int4_group(width)
    grouped = values.reshape(3, 5, -1, group)
    step = (grouped.abs().amax(-1, keepdim=True) / 7).expand_as(grouped).reshape_as(values)
    assert ((dequantise_int4(*quantise_int4(values)) - values).abs() <= 0.55 * step).all()


def test_zeros_stay_zeros() -> None:
    zeros = torch.zeros(2, 3, 8)
    assert torch.equal(dequantise_int8(*quantise_int8(zeros)), zeros)
    assert torch.equal(dequantise_int4(*quantise_int4(zeros)), zeros)
