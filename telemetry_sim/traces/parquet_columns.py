"""How a recording's columns become small integers, and what that costs in precision.

Compact recordings keep amounts on a logarithmic scale and levels on a linear one; exact recordings keep every bit.
Served bits are stored as their distance from the offered ones, and bits in time from the served ones, because they
mostly agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

MISSING = -(2**31)
"""Code of NaN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogScale:
    """Codes 1 + round(steps * log2(x / least)); 0 is 0. Values below `least` become `least`."""

    least: float
    steps: int
    """Codes per doubling; the relative error is at most 2^(1 / (2 steps)) - 1."""

    def encode(self, values: NDArray[np.float64]) -> NDArray[np.int32]:
        """Codes of values >= 0; NaN is MISSING."""
        with np.errstate(divide="ignore", invalid="ignore"):
            codes = 1.0 + np.rint(self.steps * np.log2(np.maximum(values, self.least) / self.least))
        codes = np.where(values > 0, codes, 0.0)
        return np.where(np.isnan(values), float(MISSING), codes).astype(np.int32)

    def decode(self, codes: NDArray[np.int32]) -> NDArray[np.float64]:
        """Values of codes."""
        values = self.least * np.exp2((codes.astype(np.float64) - 1.0) / self.steps)
        values = np.where(codes == 0, 0.0, values)
        return np.where(codes == MISSING, np.nan, values)

    def describe(self) -> str:
        """The precision in words."""
        return f"relative error <= {2 ** (0.5 / self.steps) - 1:.2%}, nothing between 0 and {self.least:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearScale:
    """Codes round(x / step)."""

    step: float

    def encode(self, values: NDArray[np.float64]) -> NDArray[np.int32]:
        """Codes of values; NaN is MISSING."""
        return np.where(np.isnan(values), float(MISSING), np.rint(values / self.step)).astype(np.int32)

    def decode(self, codes: NDArray[np.int32]) -> NDArray[np.float64]:
        """Values of codes."""
        return np.where(codes == MISSING, np.nan, codes * self.step)

    def describe(self) -> str:
        """The precision in words."""
        return f"error <= {self.step / 2:g}"


_BITS = LogScale(least=1.0, steps=64)

COMPACT: Mapping[str, LogScale | LinearScale] = {
    "offered_bits": _BITS,
    "served_bits": _BITS,
    "in_time_bits": _BITS,
    "dropped_bits": _BITS,
    "backlog_bits": _BITS,
    "delay_ms": LogScale(least=0.01, steps=32),
    "prb": LogScale(least=0.001, steps=32),
    "sinr_db": LinearScale(step=0.5),
    "rsrp_dbm": LinearScale(step=1.0),
    "cqi": LinearScale(step=0.25),
    "mcs": LinearScale(step=0.25),
    "bler": LinearScale(step=0.01),
    "energy_j": LogScale(least=1e-6, steps=32),
    "battery_j": LogScale(least=0.001, steps=2048),
}
"""Scale of each float column of DeviceColumns. Levels follow what devices report (3GPP TS 38.133, 10.1)."""

_DISTANCE_FROM = {"in_time_bits": "served_bits", "served_bits": "offered_bits"}


def encode_columns(values: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.int32]]:
    """Codes of each column, distances taken."""
    codes = {name: scale.encode(values[name]) for name, scale in COMPACT.items()}
    return {name: _distance(codes, name, np.subtract) for name in codes}


def decode_columns(codes: Mapping[str, NDArray[np.int32]]) -> dict[str, NDArray[np.float64]]:
    """Values of each column."""
    plain = dict(codes)
    # Offered comes before served and served before in-time, so each reference is plain when it is needed.
    for name in ("served_bits", "in_time_bits"):
        plain[name] = _distance(plain, name, np.add)
    return {name: scale.decode(plain[name]) for name, scale in COMPACT.items()}


def _distance(
    codes: Mapping[str, NDArray[np.int32]],
    name: str,
    combine: Callable[[NDArray[np.int32], NDArray[np.int32]], NDArray[np.int32]],
) -> NDArray[np.int32]:
    """A column's distance from its reference (or, by adding, the way back); unknown entries on either side stay put."""
    reference = _DISTANCE_FROM.get(name)
    if reference is None:
        return codes[name]
    origin = np.where(codes[reference] == MISSING, 0, codes[reference])
    return np.where(codes[name] == MISSING, np.int32(MISSING), combine(codes[name], origin)).astype(np.int32)
