"""Thermal noise and the arithmetic of decibels."""

from __future__ import annotations

import math

from telemetry_sim.compiled import elementwise, njit

THERMAL_NOISE_DBM_PER_HZ = -173.975
"""Boltzmann's constant times 290 K."""

DEVICE_NOISE_FIGURE_DB = 9.0
"""Source: 3GPP TR 38.901, table 7.8-1."""


@njit
def db_to_linear(db: float) -> float:
    """Power ratio of a level."""
    return math.pow(10.0, db / 10.0)


@njit
def linear_to_db(ratio: float) -> float:
    """Level of a power ratio; minus infinity for 0."""
    if ratio <= 0.0:
        return -math.inf
    return 10.0 * math.log10(ratio)


@njit
def thermal_noise_scalar_dbm(bandwidth_hz: float, noise_figure_db: float) -> float:
    """Noise floor of a receiver."""
    return THERMAL_NOISE_DBM_PER_HZ + 10.0 * math.log10(bandwidth_hz) + noise_figure_db


thermal_noise_dbm = elementwise(thermal_noise_scalar_dbm)
decibels_to_linear = elementwise(db_to_linear)
linear_to_decibels = elementwise(linear_to_db)
