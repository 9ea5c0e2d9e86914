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
def next_gain_scalar(
    real: float, imaginary: float, rho: float, normal_real: float, normal_imaginary: float
) -> tuple[float, float]:
    """A Rayleigh gain of unit mean power one step later; `rho` is its correlation, the normals are standard draws."""
    spread = math.sqrt(max(0.0, 1.0 - rho * rho) * 0.5)
    return rho * real + spread * normal_real, rho * imaginary + spread * normal_imaginary


@njit
def rician_power_scalar(real: float, imaginary: float, k_factor: float) -> float:
    """Power gain (mean 1) of a Rayleigh gain joined by a steady path `k_factor` times as strong; 0 is pure Rayleigh."""
    steady = math.sqrt(k_factor / (k_factor + 1.0))
    scattered = math.sqrt(1.0 / (k_factor + 1.0))
    return (steady + scattered * real) ** 2 + (scattered * imaginary) ** 2
