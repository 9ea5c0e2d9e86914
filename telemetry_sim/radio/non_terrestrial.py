"""Links by satellite, high platform or UAV: how far, how late, how weak, and when there are none.

Sources: 3GPP TR 38.811 V15.4, 6.6.2 (slant range, losses) and tables 6.6.1-1 and 6.6.2-3 (suburban and rural, S band).
"""

from __future__ import annotations

import math

import numpy as np

from telemetry_sim.compiled import elementwise, njit
from telemetry_sim.radio.path_loss import SPEED_OF_LIGHT_MPS

EARTH_RADIUS_M = 6_371_000.0
GRAVITY_M3_PER_S2 = 3.986_004_418e14
"""Of the earth."""

LEO_ALTITUDE_M = 600_000.0
GEO_ALTITUDE_M = 35_786_000.0
"""Source of both: TR 38.811, table 4.5-1."""

MIN_ELEVATION_DEG = 10.0
"""Below it a link is not used. Source: TR 38.811, 4.5."""

_LOS_PROBABILITY = np.array([0.782, 0.869, 0.919, 0.929, 0.935, 0.940, 0.949, 0.952, 0.998])
_CLUTTER_LOSS_DB = np.array([19.52, 18.17, 18.42, 18.28, 18.63, 17.68, 16.50, 16.30, 16.30])
_LOS_SIGMA_DB = np.array([1.79, 1.14, 1.14, 0.92, 1.42, 1.56, 0.85, 0.72, 0.72])
_NLOS_SIGMA_DB = np.array([8.93, 9.08, 8.78, 10.25, 10.56, 10.74, 10.17, 11.52, 11.52])


@njit
def _row(elevation_deg: float) -> int:
    """Row of the tables, which stand at 10, 20 ... 90 degrees; the nearest one counts."""
    return int(min(8.0, max(0.0, math.floor(elevation_deg / 10.0 + 0.5) - 1.0)))


@njit
def slant_range_scalar_m(elevation_deg: float, altitude_m: float) -> float:
    """Distance to a satellite seen at an elevation. Source: TR 38.811, equation 6.6-3."""
    vertical = EARTH_RADIUS_M * math.sin(math.radians(elevation_deg))
    return math.sqrt(vertical**2 + altitude_m**2 + 2.0 * altitude_m * EARTH_RADIUS_M) - vertical


@njit
def one_way_delay_scalar_ms(elevation_deg: float, altitude_m: float) -> float:
    """Propagation time of one hop between the ground and the satellite."""
    return 1000.0 * slant_range_scalar_m(elevation_deg, altitude_m) / SPEED_OF_LIGHT_MPS


@njit
def los_probability_scalar(elevation_deg: float) -> float:
    """Chance (0-1) that the ground device sees the satellite."""
    return float(_LOS_PROBABILITY[_row(elevation_deg)])


@njit
def path_loss_scalar_db(elevation_deg: float, altitude_m: float, is_los: bool, carrier_ghz: float) -> float:
    """Mean loss of one link: free space, and clutter where the view is blocked; shadowing left out."""
    range_m = slant_range_scalar_m(elevation_deg, altitude_m)
    free_space_db = 32.45 + 20.0 * math.log10(carrier_ghz) + 20.0 * math.log10(range_m)
    return free_space_db if is_los else free_space_db + _CLUTTER_LOSS_DB[_row(elevation_deg)]


@njit
def shadowing_sigma_scalar_db(elevation_deg: float, is_los: bool) -> float:
    """Standard deviation of the shadow fading of one link."""
    row = _row(elevation_deg)
    return float(_LOS_SIGMA_DB[row] if is_los else _NLOS_SIGMA_DB[row])


@njit
def orbit_period_scalar_s(altitude_m: float) -> float:
    """Time of one round of a circular orbit."""
    return 2.0 * math.pi * math.sqrt((EARTH_RADIUS_M + altitude_m) ** 3 / GRAVITY_M3_PER_S2)


@njit
def elevation_scalar_deg(time_s: float, altitude_m: float, num_satellites: int, cross_track_deg: float) -> float:
    """Elevation of the best of equally spaced satellites on one circular orbit, at a time since one was highest.

    `cross_track_deg` is the earth-centred angle between the ground device and the orbit's track; the earth's own turn
    during a pass is left out. Negative below the horizon.
    """
    spacing = 2.0 * math.pi / num_satellites
    along = 2.0 * math.pi * time_s / orbit_period_scalar_s(altitude_m)
    along -= spacing * math.floor(along / spacing + 0.5)
    cosine = math.cos(math.radians(cross_track_deg)) * math.cos(along)
    sine = math.sqrt(max(0.0, 1.0 - cosine * cosine))
    ratio = EARTH_RADIUS_M / (EARTH_RADIUS_M + altitude_m)
    return math.degrees(math.atan2(cosine - ratio, sine))


@njit
def is_reachable_scalar(time_s: float, altitude_m: float, num_satellites: int, cross_track_deg: float) -> bool:
    """Whether any satellite stands high enough; the times in between are the link's outages."""
    return elevation_scalar_deg(time_s, altitude_m, num_satellites, cross_track_deg) >= MIN_ELEVATION_DEG


slant_range_m = elementwise(slant_range_scalar_m)
one_way_delay_ms = elementwise(one_way_delay_scalar_ms)
path_loss_db = elementwise(path_loss_scalar_db)
elevation_deg = elementwise(elevation_scalar_deg)
is_reachable = elementwise(is_reachable_scalar)
