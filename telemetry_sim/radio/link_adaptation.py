"""What the receiver reports (CQI) and what the sender picks (MCS) for an SINR and a target block error rate."""

from __future__ import annotations

import math

import numpy as np

from telemetry_sim.compiled import elementwise, njit
from telemetry_sim.radio.block_error import HALF_LOST_SINR_DB, required_sinr_scalar_db
from telemetry_sim.radio.modulation import CQI_EFFICIENCY, MCS_EFFICIENCY

CQI_TARGET_BLER = 0.1
"""Source: 3GPP TS 38.214, 5.2.2.1."""

_NUM_MCS = 29

# SINR a CQI needs beyond Shannon's bound follows the MCS rows of the same efficiency.
_GAP_DB = HALF_LOST_SINR_DB - 10.0 * np.log10(2.0**MCS_EFFICIENCY - 1.0)
_CQI_SINR_DB = 10.0 * np.log10(2.0 ** CQI_EFFICIENCY[1:] - 1.0) + np.interp(CQI_EFFICIENCY[1:], MCS_EFFICIENCY, _GAP_DB)
# ln 9 over the slope: from half of the blocks lost to a tenth, at the reference length.
_CQI_SINR_DB += math.log(9.0) / ((6.03 - 0.437 * CQI_EFFICIENCY[1:]) * 2.0**0.6)


@njit
def cqi_scalar(sinr_db: float) -> int:
    """Highest channel quality (1-15) that loses at most a tenth of the blocks; 0 when even the lowest loses more."""
    cqi = 0
    while cqi < len(_CQI_SINR_DB) and sinr_db >= _CQI_SINR_DB[cqi]:
        cqi += 1
    return cqi


@njit
def choose_mcs_scalar(sinr_db: float, target_bler: float) -> int:
    """Highest MCS (0-28) that meets the target block error rate (0-1, bounds excluded); -1 when none does."""
    low = -1
    high = _NUM_MCS
    while high - low > 1:
        middle = (low + high) // 2
        if sinr_db >= required_sinr_scalar_db(middle, target_bler):
            low = middle
        else:
            high = middle
    return low


cqi = elementwise(cqi_scalar)
choose_mcs = elementwise(choose_mcs_scalar)
