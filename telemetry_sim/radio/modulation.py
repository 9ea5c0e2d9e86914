"""Modulation and coding of 5G: the 64QAM tables of 3GPP TS 38.214 V17."""

from __future__ import annotations

import numpy as np

MCS_ORDER = np.array([2] * 10 + [4] * 7 + [6] * 12, dtype=np.int64)
"""Bits a symbol, per MCS 0-28. Source: table 5.1.3.1-1."""

_MCS_RATE_1024 = [
    *(120, 157, 193, 251, 308, 379, 449, 526, 602, 679),
    *(340, 378, 434, 490, 553, 616, 658),
    *(438, 466, 517, 567, 616, 666, 719, 772, 822, 873, 910, 948),
]

MCS_RATE = np.array(_MCS_RATE_1024, dtype=np.float64) / 1024.0
"""Code rate per MCS 0-28. Source: table 5.1.3.1-1."""

MCS_EFFICIENCY = MCS_ORDER * MCS_RATE
"""Bits a resource element, per MCS."""

_CQI_ORDER = np.array([0] + [2] * 6 + [4] * 3 + [6] * 6, dtype=np.float64)
_CQI_RATE_1024 = np.array(
    [0, 78, 120, 193, 308, 449, 602, 378, 490, 616, 466, 567, 666, 772, 873, 948], dtype=np.float64
)

CQI_EFFICIENCY = _CQI_ORDER * _CQI_RATE_1024 / 1024.0
"""Bits a resource element, per CQI 0-15; 0 is out of range. Source: table 5.2.2.1-2."""

MCS_OF_CQI = np.array([-1] + [int(np.argmin(np.abs(MCS_EFFICIENCY - e))) for e in CQI_EFFICIENCY[1:]], dtype=np.int64)
"""The MCS nearest in efficiency to each CQI; -1 for CQI 0."""
