"""Values that the radio model must meet, worked out apart from it.

The formulas below were written a second time, in plain Python and another arrangement, from the published text; none
imports the simulator. NS3_LOSS_DB are the expectations in ns-3's own test suite (src/propagation/test,
three-gpp-propagation-loss-model-test-suite.cc), which its authors computed from 3GPP TR 38.901.
"""

from __future__ import annotations

from math import exp, log, log10, pi, sqrt

LIGHT = 3.0e8

NS3_LOSS_DB = {
    ("rma", True): {10: 77.3784, 100: 87.2965, 1000: 108.5577, 10_000: 140.3896},
    ("rma", False): {10: 77.3784, 100: 95.7718, 1000: 133.5223, 5000: 160.5169},
    ("uma", True): {10: 72.9380, 100: 86.2362, 1000: 109.7252, 5000: 137.6794},
    ("uma", False): {10: 82.5131, 100: 106.1356, 1000: 144.7641, 5000: 172.0753},
    ("umi", True): {10: 69.8591, 100: 88.4122, 1000: 119.3114, 5000: 147.2696},
    ("umi", False): {10: 76.7563, 100: 107.9432, 1000: 143.1886, 5000: 167.8617},
}
"""Loss by 2D distance (m) at 5 GHz, devices at 1.5 m, base stations at 35, 25 and 10 m."""


def breakpoint_m(model: str, ghz: float, h_bs: float, h_ut: float) -> float:
    """TR 38.901, notes 1 and 5 of table 7.4.1-1."""
    hz = ghz * 1e9
    return 2 * pi * h_bs * h_ut * hz / LIGHT if model == "rma" else 4 * (h_bs - 1) * (h_ut - 1) * hz / LIGHT


def loss_db(model: str, is_los: bool, d_2d: float, ghz: float, h_bs: float, h_ut: float) -> float:
    """Loss of one link by TR 38.901, table 7.4.1-1."""
    d = sqrt(d_2d * d_2d + (h_bs - h_ut) ** 2)
    los = _los_db(model, d_2d, d, ghz, h_bs, h_ut)
    return los if is_los else max([los, *_nlos_db(model, d, ghz, h_bs, h_ut)])


def _los_db(model: str, d_2d: float, d: float, ghz: float, h_bs: float, h_ut: float) -> float:
    f = 20 * log10(ghz)
    if model.startswith("inf"):
        return 31.84 + 21.50 * log10(d) + 19.00 * log10(ghz)
    d_bp = breakpoint_m(model, ghz, h_bs, h_ut)
    if model == "umi":
        if d_2d <= d_bp:
            return 32.4 + 21 * log10(d) + f
        return 32.4 + 40 * log10(d) + f - 9.5 * log10(d_bp**2 + (h_bs - h_ut) ** 2)
    if model == "uma":
        if d_2d <= d_bp:
            return 28.0 + 22 * log10(d) + f
        return 28.0 + 40 * log10(d) + f - 9 * log10(d_bp**2 + (h_bs - h_ut) ** 2)
    h = 5.0

    def first(x: float) -> float:
        slope = min(0.03 * h**1.72, 10) * log10(x)
        return 20 * log10(40 * pi * x * ghz / 3) + slope - min(0.044 * h**1.72, 14.77) + 0.002 * log10(h) * x

    return first(d) if d_2d <= d_bp else first(d_bp) + 40 * log10(d / d_bp)


def _nlos_db(model: str, d: float, ghz: float, h_bs: float, h_ut: float) -> list[float]:
    """The candidates of which, with the line of sight, the largest counts."""
    f = 20 * log10(ghz)
    if model == "umi":
        return [22.4 + 35.3 * log10(d) + 21.3 * log10(ghz) - 0.3 * (h_ut - 1.5)]
    if model == "uma":
        return [13.54 + 39.08 * log10(d) + f - 0.6 * (h_ut - 1.5)]
    if model == "rma":
        w, h = 20.0, 5.0
        fixed = 161.04 - 7.1 * log10(w) + 7.5 * log10(h) - (24.37 - 3.7 * (h / h_bs) ** 2) * log10(h_bs)
        slope = (43.42 - 3.1 * log10(h_bs)) * (log10(d) - 3)
        return [fixed + slope + f - (3.2 * log10(11.75 * h_ut) ** 2 - 4.97)]
    sparse_low = 33.0 + 25.5 * log10(d) + f
    return {
        "inf_sl": [sparse_low],
        "inf_dl": [sparse_low, 18.6 + 35.7 * log10(d) + f],
        "inf_sh": [32.4 + 23.0 * log10(d) + f],
        "inf_dh": [33.63 + 21.9 * log10(d) + f],
    }[model]


def los_probability(model: str, d: float, h_bs: float, h_ut: float) -> float:
    """TR 38.901, table 7.4.2-1, devices below 13 m; halls with the clutter of table 7.8-7."""
    if model in {"umi", "uma"}:
        reach = 36 if model == "umi" else 63
        return 1.0 if d <= 18 else 18 / d + exp(-d / reach) * (1 - 18 / d)
    if model == "rma":
        return min(1.0, exp(-(d - 10) / 1000))
    size, density, height = (2.0, 0.6, 6.0) if model[-2] == "d" else (10.0, 0.2, 2.0)
    k = -size / log(1 - density)
    return exp(-d / (k * (h_bs - h_ut) / (height - h_ut) if model.endswith("h") else k))
