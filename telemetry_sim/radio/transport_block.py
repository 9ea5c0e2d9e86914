"""Transport block sizes of 5G. Source: 3GPP TS 38.214 V17, 5.1.3.2."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from telemetry_sim.compiled import elementwise, njit
from telemetry_sim.radio.modulation import MCS_EFFICIENCY, MCS_ORDER, MCS_RATE

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

RE_PER_PRB = 132
"""Resource elements that carry data in a PRB and slot: 12 subcarriers times 12 symbols, less 12 for the DM-RS."""

MAX_RE_PER_PRB = 156

_SMALL_BLOCKS = np.array(
    [
        *(24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120, 128, 136, 144),
        *(152, 160, 168, 176, 184, 192, 208, 224, 240, 256, 272, 288, 304, 320, 336, 352),
        *(368, 384, 408, 432, 456, 480, 504, 528, 552, 576, 608, 640, 672, 704, 736, 768),
        *(808, 848, 888, 928, 984, 1032, 1064, 1128, 1160, 1192, 1224, 1256, 1288, 1320, 1352, 1416),
        *(1480, 1544, 1608, 1672, 1736, 1800, 1864, 1928, 2024, 2088, 2152, 2216, 2280, 2408, 2472, 2536),
        *(2600, 2664, 2728, 2792, 2856, 2976, 3104, 3240, 3368, 3496, 3624, 3752, 3824),
    ],
    dtype=np.int64,
)
"""Source: TS 38.214, table 5.1.3.2-1."""


@njit
def _small_block_bits(info_bits: float) -> int:
    step = 2.0 ** max(3.0, math.floor(math.log2(info_bits)) - 6.0)
    quantised = max(24.0, step * math.floor(info_bits / step))
    for size in _SMALL_BLOCKS:
        if size >= quantised:
            return int(size)
    return int(_SMALL_BLOCKS[-1])


@njit
def _large_block_bits(info_bits: float, code_rate: float) -> int:
    step = 2.0 ** (math.floor(math.log2(info_bits - 24.0)) - 5.0)
    quantised = max(3840.0, step * math.floor((info_bits - 24.0) / step + 0.5))
    num_code_blocks = 1.0
    if code_rate <= 0.25:
        num_code_blocks = math.ceil((quantised + 24.0) / 3816.0)
    elif quantised > 8424.0:
        num_code_blocks = math.ceil((quantised + 24.0) / 8424.0)
    return int(8.0 * num_code_blocks * math.ceil((quantised + 24.0) / (8.0 * num_code_blocks)) - 24.0)


@njit
def transport_block_scalar_bits(mcs: int, num_prb: float, num_re_per_prb: float) -> int:
    """Bits of one slot's block on one layer; 0 without PRBs or with a negative MCS (out of range)."""
    if mcs < 0 or num_prb <= 0:
        return 0
    code_rate = MCS_RATE[mcs]
    info_bits = min(MAX_RE_PER_PRB, num_re_per_prb) * num_prb * code_rate * MCS_ORDER[mcs]
    if info_bits <= 3824.0:
        return _small_block_bits(info_bits)
    return _large_block_bits(info_bits, code_rate)


@njit
def goodput_scalar_bits_per_prb(mcs: int, bler: float) -> float:
    """Expected bits that one PRB delivers in a slot, without the block sizes' rounding; 0 for a negative MCS."""
    return RE_PER_PRB * MCS_EFFICIENCY[mcs] * (1.0 - bler) if mcs >= 0 else 0.0


_over_arrays = elementwise(transport_block_scalar_bits)


def transport_block_bits(
    mcs: ArrayLike, num_prb: ArrayLike, *, num_re_per_prb: float = RE_PER_PRB
) -> NDArray[np.int64]:
    """Bits of one slot's block on one layer. Arguments broadcast."""
    return _over_arrays(np.asarray(mcs, dtype=np.int64), np.asarray(num_prb, dtype=np.float64), num_re_per_prb)
