"""Line-of-sight probability of 3GPP TR 38.901 V17, tables 7.4.2-1 (outdoor) and 7.8-7 (clutter of the InF halls)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from telemetry_sim.compiled import as_float, elementwise, njit
from telemetry_sim.radio.path_loss import (
    BASE_STATION_HEIGHT_M,
    DEVICE_HEIGHT_M,
    ENVIRONMENT_CODE,
    INF_DH,
    INF_DL,
    INF_SH,
    RMA,
    UMA,
    UMI,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from telemetry_sim.topology import Environment

# Sparse and dense halls of TR 38.901, table 7.8-7: clutter size, density and height.
_SPARSE_CLUTTER = (10.0, 0.2, 2.0)
_DENSE_CLUTTER = (2.0, 0.6, 6.0)


@njit
def _street_probability(d_2d_m: float, decay_m: float) -> float:
    if d_2d_m <= 18.0:
        return 1.0
    return 18.0 / d_2d_m + math.exp(-d_2d_m / decay_m) * (1.0 - 18.0 / d_2d_m)


@njit
def _hall_probability(code: int, d_2d_m: float, h_bs_m: float, h_ut_m: float) -> float:
    size_m, density, height_m = _DENSE_CLUTTER if code in (INF_DL, INF_DH) else _SPARSE_CLUTTER
    k_m = -size_m / math.log(1.0 - density)
    if code in (INF_SH, INF_DH):
        k_m *= (h_bs_m - h_ut_m) / (height_m - h_ut_m)
    return math.exp(-d_2d_m / k_m)


@njit
def los_probability_scalar(code: int, d_2d_m: float, h_bs_m: float, h_ut_m: float) -> float:
    """Chance (0-1) that an outdoor (or hall) device sees its base station."""
    if code == UMI:
        return _street_probability(d_2d_m, 36.0)
    if code == UMA:
        near = _street_probability(d_2d_m, 63.0)
        if d_2d_m <= 18.0 or h_ut_m <= 13.0:
            return near
        lift = math.pow((min(h_ut_m, 23.0) - 13.0) / 10.0, 1.5)
        return near * (1.0 + lift * 1.25 * (d_2d_m / 100.0) ** 3 * math.exp(-d_2d_m / 150.0))
    if code == RMA:
        return 1.0 if d_2d_m <= 10.0 else math.exp(-(d_2d_m - 10.0) / 1000.0)
    return _hall_probability(code, d_2d_m, h_bs_m, h_ut_m)


_over_arrays = elementwise(los_probability_scalar)


def los_probability(
    environment: Environment,
    d_2d_m: ArrayLike,
    *,
    h_bs_m: ArrayLike | None = None,
    h_ut_m: ArrayLike = DEVICE_HEIGHT_M,
) -> NDArray[np.float64]:
    """Chance (0-1) of line of sight on each link. Arguments broadcast."""
    height_m = BASE_STATION_HEIGHT_M[environment] if h_bs_m is None else h_bs_m
    return _over_arrays(ENVIRONMENT_CODE[environment], as_float(d_2d_m), as_float(height_m), as_float(h_ut_m))
