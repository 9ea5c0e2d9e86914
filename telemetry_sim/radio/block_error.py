"""How often a transport block fails: a logistic curve per MCS, steeper for longer code blocks.

Centres and slopes were fitted by least squares to Sionna's simulated PDSCH table 1 (Apache-2.0; MCS 3-28, code blocks
of 100 to 2,000 bits); its root mean square error there is 0.01. MCS 0-2 keep the QPSK rows' distance to capacity.
"""

from __future__ import annotations

import math

import numpy as np

from telemetry_sim.compiled import elementwise, njit
from telemetry_sim.radio.modulation import MCS_EFFICIENCY

REFERENCE_BLOCK_BITS = 1000.0
"""Length of the code block that `block_error_scalar` assumes."""

_CENTRES_DB = [
    *(-6.53, -5.23, -4.17, -3.01, -1.86, -0.84, 0.23, 1.11, 2.10, 2.90),
    *(3.11, 3.91, 4.84, 5.73, 6.63, 7.67, 8.38),
    *(8.92, 9.35, 10.16, 11.28, 12.38, 13.18, 14.28, 15.03, 16.22, 17.28, 18.09, 18.66),
]

HALF_LOST_SINR_DB = np.array(_CENTRES_DB, dtype=np.float64)
"""SINR at which half of the blocks fail, per MCS 0-28."""


@njit
def slope_scalar_per_db(mcs: int, block_bits: float) -> float:
    """Steepness of the logistic curve."""
    return float((6.03 - 0.437 * MCS_EFFICIENCY[mcs]) * math.pow(block_bits / 500.0, 0.6))


@njit
def block_error_of_length_scalar(sinr_db: float, mcs: int, block_bits: float) -> float:
    """Chance (0-1) that a code block of that length fails at that SINR."""
    exponent = slope_scalar_per_db(mcs, block_bits) * (sinr_db - HALF_LOST_SINR_DB[mcs])
    if exponent > 700.0:
        return 0.0
    return 1.0 / (1.0 + math.exp(exponent))


@njit
def block_error_scalar(sinr_db: float, mcs: int) -> float:
    """Chance (0-1) that a code block of the reference length fails; 1 for a negative MCS (out of range)."""
    if mcs < 0:
        return 1.0
    return block_error_of_length_scalar(sinr_db, mcs, REFERENCE_BLOCK_BITS)


@njit
def required_sinr_scalar_db(mcs: int, target_bler: float) -> float:
    """SINR at which a code block of the reference length fails with that chance (0-1, bounds excluded)."""
    logit = math.log((1.0 - target_bler) / target_bler)
    return float(HALF_LOST_SINR_DB[mcs] + logit / slope_scalar_per_db(mcs, REFERENCE_BLOCK_BITS))


block_error_rate = elementwise(block_error_scalar)
block_error_rate_of_length = elementwise(block_error_of_length_scalar)
