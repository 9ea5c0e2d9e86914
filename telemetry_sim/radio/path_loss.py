"""Mean path loss of 3GPP TR 38.901 V17, table 7.4.1-1: UMi street canyon, UMa, RMa and the four InF halls.

Distances below 10 m (2D) are clamped to 10 m (1 m in InF halls), where the formulas' validity starts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from telemetry_sim.compiled import as_float, elementwise, njit
from telemetry_sim.topology import Environment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

UMI, UMA, RMA, INF_SL, INF_DL, INF_SH, INF_DH = range(7)

ENVIRONMENT_CODE: dict[Environment, int] = {
    Environment.UMI: UMI,
    Environment.UMA: UMA,
    Environment.RMA: RMA,
    Environment.INF_SL: INF_SL,
    Environment.INF_DL: INF_DL,
    Environment.INF_SH: INF_SH,
    Environment.INF_DH: INF_DH,
}
"""How kernels name an environment."""

BASE_STATION_HEIGHT_M: dict[Environment, float] = {
    Environment.UMI: 10.0,
    Environment.UMA: 25.0,
    Environment.RMA: 35.0,
    Environment.INF_SL: 1.5,
    Environment.INF_DL: 1.5,
    Environment.INF_SH: 8.0,
    Environment.INF_DH: 8.0,
}
"""Source: TR 38.901, tables 7.2-1, 7.2-3 and 7.8-7."""

DEVICE_HEIGHT_M = 1.5
SPEED_OF_LIGHT_MPS = 3.0e8
"""As TR 38.901 rounds it, note 1 of table 7.4.1-1."""

# Averages of TR 38.901, table 7.4.1-1, RMa.
_BUILDING_HEIGHT_M = 5.0
_STREET_WIDTH_M = 20.0
# Effective environment height. TR 38.901 draws a higher one only for devices above 13 m.
_ENVIRONMENT_HEIGHT_M = 1.0


@njit
def _distance_3d_m(d_2d_m: float, h_bs_m: float, h_ut_m: float) -> float:
    return math.hypot(d_2d_m, h_bs_m - h_ut_m)


@njit
def breakpoint_scalar_m(code: int, carrier_ghz: float, h_bs_m: float, h_ut_m: float) -> float:
    """2D distance where the line-of-sight slope steepens; infinite in InF halls."""
    if code == RMA:
        return 2.0 * math.pi * h_bs_m * h_ut_m * carrier_ghz * 1e9 / SPEED_OF_LIGHT_MPS
    if code in (UMI, UMA):
        above_bs_m = h_bs_m - _ENVIRONMENT_HEIGHT_M
        above_ut_m = h_ut_m - _ENVIRONMENT_HEIGHT_M
        return 4.0 * above_bs_m * above_ut_m * carrier_ghz * 1e9 / SPEED_OF_LIGHT_MPS
    return math.inf


@njit
def _rma_near_db(d_3d_m: float, carrier_ghz: float) -> float:
    h172 = math.pow(_BUILDING_HEIGHT_M, 1.72)
    return (
        20.0 * math.log10(40.0 * math.pi * d_3d_m * carrier_ghz / 3.0)
        + min(0.03 * h172, 10.0) * math.log10(d_3d_m)
        - min(0.044 * h172, 14.77)
        + 0.002 * math.log10(_BUILDING_HEIGHT_M) * d_3d_m
    )


@njit
def _los_db(code: int, d_2d_m: float, d_3d_m: float, carrier_ghz: float, h_bs_m: float, h_ut_m: float) -> float:
    if code >= INF_SL:
        return 31.84 + 21.5 * math.log10(d_3d_m) + 19.0 * math.log10(carrier_ghz)
    d_bp_m = breakpoint_scalar_m(code, carrier_ghz, h_bs_m, h_ut_m)
    if code == RMA:
        if d_2d_m <= d_bp_m:
            return _rma_near_db(d_3d_m, carrier_ghz)
        return _rma_near_db(d_bp_m, carrier_ghz) + 40.0 * math.log10(d_3d_m / d_bp_m)
    intercept, near_slope, far_factor = (32.4, 21.0, 9.5) if code == UMI else (28.0, 22.0, 9.0)
    at_carrier = intercept + 20.0 * math.log10(carrier_ghz)
    if d_2d_m <= d_bp_m:
        return at_carrier + near_slope * math.log10(d_3d_m)
    corner = math.log10(d_bp_m**2 + (h_bs_m - h_ut_m) ** 2)
    return at_carrier + 40.0 * math.log10(d_3d_m) - far_factor * corner


@njit
def _rma_nlos_db(d_3d_m: float, carrier_ghz: float, h_bs_m: float, h_ut_m: float) -> float:
    return (
        161.04
        - 7.1 * math.log10(_STREET_WIDTH_M)
        + 7.5 * math.log10(_BUILDING_HEIGHT_M)
        - (24.37 - 3.7 * (_BUILDING_HEIGHT_M / h_bs_m) ** 2) * math.log10(h_bs_m)
        + (43.42 - 3.1 * math.log10(h_bs_m)) * (math.log10(d_3d_m) - 3.0)
        + 20.0 * math.log10(carrier_ghz)
        - (3.2 * math.log10(11.75 * h_ut_m) ** 2 - 4.97)
    )


@njit
def _hall_nlos_db(code: int, log_d: float, log_f: float) -> float:
    if code == INF_SH:
        return 32.4 + 23.0 * log_d + 20.0 * log_f
    if code == INF_DH:
        return 33.63 + 21.9 * log_d + 20.0 * log_f
    sparse_low = 33.0 + 25.5 * log_d + 20.0 * log_f
    if code == INF_SL:
        return sparse_low
    return max(18.6 + 35.7 * log_d + 20.0 * log_f, sparse_low)


@njit
def _nlos_db(code: int, d_3d_m: float, carrier_ghz: float, h_bs_m: float, h_ut_m: float) -> float:
    log_d = math.log10(d_3d_m)
    log_f = math.log10(carrier_ghz)
    if code == UMI:
        return 35.3 * log_d + 22.4 + 21.3 * log_f - 0.3 * (h_ut_m - 1.5)
    if code == UMA:
        return 13.54 + 39.08 * log_d + 20.0 * log_f - 0.6 * (h_ut_m - 1.5)
    if code == RMA:
        return _rma_nlos_db(d_3d_m, carrier_ghz, h_bs_m, h_ut_m)
    return _hall_nlos_db(code, log_d, log_f)


@njit
def path_loss_scalar_db(
    code: int, d_2d_m: float, is_los: bool, carrier_ghz: float, h_bs_m: float, h_ut_m: float
) -> float:
    """Mean loss of one link, shadowing left out. NLOS is never below LOS."""
    d_2d_m = max(d_2d_m, 1.0 if code >= INF_SL else 10.0)
    d_3d_m = _distance_3d_m(d_2d_m, h_bs_m, h_ut_m)
    los_db = _los_db(code, d_2d_m, d_3d_m, carrier_ghz, h_bs_m, h_ut_m)
    if is_los:
        return los_db
    return max(los_db, _nlos_db(code, d_3d_m, carrier_ghz, h_bs_m, h_ut_m))


_over_arrays = elementwise(path_loss_scalar_db)


def path_loss_db(
    environment: Environment,
    d_2d_m: ArrayLike,
    is_los: ArrayLike,
    *,
    carrier_ghz: ArrayLike,
    h_bs_m: ArrayLike | None = None,
    h_ut_m: ArrayLike = DEVICE_HEIGHT_M,
) -> NDArray[np.float64]:
    """Mean loss of each link, shadowing left out. Arguments broadcast."""
    import numpy as np

    height_m = BASE_STATION_HEIGHT_M[environment] if h_bs_m is None else h_bs_m
    return _over_arrays(
        ENVIRONMENT_CODE[environment],
        as_float(d_2d_m),
        np.asarray(is_los, dtype=np.bool_),
        as_float(carrier_ghz),
        as_float(height_m),
        as_float(h_ut_m),
    )
