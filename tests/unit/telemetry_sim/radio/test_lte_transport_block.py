"""LTE block sizes."""

from __future__ import annotations

import numpy as np
import pytest

from telemetry_sim.radio.lte_transport_block import lte_transport_block_bits


@pytest.mark.parametrize(
    ("mcs", "num_prb", "bits"),
    [(0, 1, 16), (9, 10, 1544), (10, 10, 1544), (11, 3, 504), (18, 14, 4584), (28, 50, 36_696)],
)
def test_table_entries(mcs: int, num_prb: int, bits: int) -> None:
    assert lte_transport_block_bits(mcs, num_prb) == bits


def test_means_lie_between_their_neighbours() -> None:
    assert lte_transport_block_bits(11.5, 3) == (504 + 584) / 2
    assert lte_transport_block_bits(11, 3.5) == (504 + 680) / 2


def test_sizes_grow_with_mcs_and_prbs() -> None:
    sizes = lte_transport_block_bits(np.arange(29)[:, None], np.arange(2, 51))
    assert np.all(np.diff(sizes, axis=0) >= 0)
    assert np.all(np.diff(sizes, axis=1) >= 0)
    assert np.all(sizes % 8 == 0)
