"""Fast fading at the scale of a step: a complex gain that forgets at the rate the device moves."""

from __future__ import annotations

import math

from telemetry_sim.compiled import njit
from telemetry_sim.radio.path_loss import SPEED_OF_LIGHT_MPS

_FIRST_ZERO = 2.404825557695773
"""Of the Bessel function J0; beyond it the correlation is taken as 0, not as its small ripple."""


@njit
def jakes_correlation(speed_mps: float, carrier_ghz: float, step_s: float) -> float:
    """Correlation (0-1) of a gain with itself one step later: J0(2 pi Doppler step). Source: Jakes 1974, 1.3."""
    doppler_hz = speed_mps * carrier_ghz * 1e9 / SPEED_OF_LIGHT_MPS
    x = 2.0 * math.pi * doppler_hz * step_s
    if x >= _FIRST_ZERO:
        return 0.0
    # Power series of J0: below the first zero ten terms leave an error under 1e-9.
    quarter = -0.25 * x * x
    term = 1.0
    total = 1.0
    for k in range(1, 11):
        term *= quarter / (k * k)
        total += term
    return max(0.0, total)


@njit
def fresh_part(rho: float) -> float:
    """Standard deviation of what a gain's real or imaginary part gains anew in a step, given its correlation `rho`."""
    return math.sqrt(max(0.0, 1.0 - rho * rho) * 0.5)


@njit
def next_gain_scalar(
    real: float, imaginary: float, rho: float, fresh: float, normal_real: float, normal_imaginary: float
) -> tuple[float, float]:
    """A Rayleigh gain of unit mean power one step later.

    `rho` is its correlation, `fresh` what `fresh_part` makes of it, the normals are standard draws.
    """
    return rho * real + fresh * normal_real, rho * imaginary + fresh * normal_imaginary


def steady_and_scattered(k_factor: float) -> tuple[float, float]:
    """Amplitudes of a steady path `k_factor` times as strong as the scattered ones; 0 is pure Rayleigh."""
    return math.sqrt(k_factor / (k_factor + 1.0)), math.sqrt(1.0 / (k_factor + 1.0))


@njit
def rician_power_scalar(real: float, imaginary: float, steady: float, scattered: float) -> float:
    """Power gain (mean 1) of a Rayleigh gain joined by a steady path; amplitudes as `steady_and_scattered` has them."""
    return (steady + scattered * real) ** 2 + (scattered * imaginary) ** 2
