"""What the base station's antenna adds in the direction of a device."""

from __future__ import annotations

import math

from telemetry_sim.compiled import inner
from telemetry_sim.radio.path_loss import INF_SL, RMA

PEAK_GAIN_DB = 8.0
"""Source: 3GPP TR 38.901, table 7.3-1."""
BEAM_WIDTH_DEG = 10.0
FLOOR_DB = 20.0
STREET_TILT_DEG = 12.0
RURAL_TILT_DEG = 6.0
"""Source of beam, floor and tilts: 3GPP TR 36.814, tables A.2.1.1-2 and A.2.1.1.2-2."""


@inner
def antenna_gain_db(code: int, d_2d_m: float, height_difference_m: float) -> float:
    """Gain towards a device: a beam tilted down, all round in azimuth; none in halls."""
    if code >= INF_SL:
        return 0.0
    tilt_deg = RURAL_TILT_DEG if code == RMA else STREET_TILT_DEG
    down_deg = math.degrees(math.atan2(height_difference_m, max(d_2d_m, 1.0)))
    return PEAK_GAIN_DB - min(12.0 * ((down_deg - tilt_deg) / BEAM_WIDTH_DEG) ** 2, FLOOR_DB)
