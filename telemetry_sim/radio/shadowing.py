"""Shadow fading of 3GPP TR 38.901 V17: its spread (table 7.4.1-1) and its likeness over distance (table 7.5-6)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from telemetry_sim.compiled import as_float, elementwise, njit
from telemetry_sim.radio.path_loss import (
    BASE_STATION_HEIGHT_M,
    DEVICE_HEIGHT_M,
    ENVIRONMENT_CODE,
    INF_DL,
    INF_SH,
    INF_SL,
    RMA,
    UMA,
    UMI,
    breakpoint_scalar_m,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from telemetry_sim.topology import Environment

# Devices whose waves are summed at once, so that memory stays small at any number of devices.
_BLOCK = 4096


@njit
def shadowing_sigma_scalar_db(
    code: int, is_los: bool, d_2d_m: float, carrier_ghz: float, h_bs_m: float, h_ut_m: float
) -> float:
    """Standard deviation of the shadow fading of one link."""
    if code == RMA and is_los:
        return 4.0 if d_2d_m <= breakpoint_scalar_m(code, carrier_ghz, h_bs_m, h_ut_m) else 6.0
    if is_los:
        return 4.0 if code < INF_SL else 4.3
    if code in (UMI, UMA, RMA):
        return 7.82 if code == UMI else (6.0 if code == UMA else 8.0)
    if code in (INF_SL, INF_DL):
        return 5.7 if code == INF_SL else 7.2
    return 5.9 if code == INF_SH else 4.0


@njit
def correlation_distance_scalar_m(code: int, is_los: bool) -> float:
    """Distance over which a link's shadow fading loses all but 1/e of its likeness."""
    if code == UMI:
        return 10.0 if is_los else 13.0
    if code == UMA:
        return 37.0 if is_los else 50.0
    if code == RMA:
        return 37.0 if is_los else 120.0
    return 10.0


@njit
def next_shadowing_scalar_db(old_db: float, moved_m: float, distance_m: float, sigma_db: float, normal: float) -> float:
    """Shadow fading after a move, by Gudmundson's exponential correlation.

    `distance_m` is the correlation distance and `normal` a standard normal draw.
    Source: Gudmundson 1991, "Correlation model for shadow fading in mobile radio systems".
    """
    rho = math.exp(-moved_m / distance_m)
    return rho * old_db + math.sqrt(max(0.0, 1.0 - rho * rho)) * sigma_db * normal


next_shadowing_db = elementwise(next_shadowing_scalar_db)
_sigma_over_arrays = elementwise(shadowing_sigma_scalar_db)


def shadowing_sigma_db(
    environment: Environment,
    is_los: ArrayLike,
    d_2d_m: ArrayLike,
    *,
    carrier_ghz: ArrayLike,
    h_bs_m: ArrayLike | None = None,
    h_ut_m: ArrayLike = DEVICE_HEIGHT_M,
) -> NDArray[np.float64]:
    """Standard deviation of the shadow fading of each link. Arguments broadcast."""
    import numpy as np

    height_m = BASE_STATION_HEIGHT_M[environment] if h_bs_m is None else h_bs_m
    return _sigma_over_arrays(
        ENVIRONMENT_CODE[environment],
        np.asarray(is_los, dtype=np.bool_),
        as_float(d_2d_m),
        as_float(carrier_ghz),
        as_float(height_m),
        as_float(h_ut_m),
    )


def shadowing_field(
    x_m: NDArray[np.float64],
    y_m: NDArray[np.float64],
    *,
    correlation_m: float,
    rng: np.random.Generator,
    num_waves: int = 256,
) -> NDArray[np.float64]:
    """Unit-variance Gaussian shadowing at each position, alike for devices that stand close together.

    A sum of plane waves whose wave numbers follow the spectrum of exp(-d / correlation_m) in the plane, so the cost
    is linear in the number of devices. Multiply by the link's sigma.
    Source: Cai and Giannakis 2003, "A two-dimensional channel simulation model for shadowing processes".
    """
    import numpy as np

    # The plane's spectrum of an exponential correlation has P(wave number < k) = 1 - (1 + (k d)^2)^-1/2.
    uniform = rng.uniform(size=num_waves)
    wave_number = np.sqrt((1.0 - uniform) ** -2 - 1.0) / correlation_m
    angle = rng.uniform(0.0, 2.0 * np.pi, size=num_waves)
    phase = rng.uniform(0.0, 2.0 * np.pi, size=num_waves)
    along_x, along_y = wave_number * np.cos(angle), wave_number * np.sin(angle)
    field = np.empty(len(x_m))
    for first in range(0, len(x_m), _BLOCK):
        block = slice(first, first + _BLOCK)
        waves = np.cos(np.outer(x_m[block], along_x) + np.outer(y_m[block], along_y) + phase)
        field[block] = waves.sum(axis=1)
    return field * math.sqrt(2.0 / num_waves)
