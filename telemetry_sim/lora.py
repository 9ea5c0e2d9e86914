"""LoRaWAN class A devices: exact airtime, duty cycle, and which uplinks a gateway can tell apart.

Shapes: T transmissions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy.typing import NDArray

from telemetry_sim.compiled import njit
from telemetry_sim.errors import ScenarioInvalid
from telemetry_sim.radio.noise import THERMAL_NOISE_DBM_PER_HZ

if TYPE_CHECKING:
    from collections.abc import Sequence

PerTransmission = Float64[NDArray[np.float64], " transmissions"]
PerTransmissionIndex = Int64[NDArray[np.int64], " transmissions"]
PerTransmissionFlag = Bool[NDArray[np.bool_], " transmissions"]

SPREADING_FACTORS = (7, 8, 9, 10, 11, 12)
BANDWIDTHS_HZ = (125_000, 250_000, 500_000)
MAX_PAYLOAD_BYTES = 255
PREAMBLE_SYMBOLS = 8
GATEWAY_NOISE_FIGURE_DB = 6.0

EU868_DUTY_CYCLE = 0.01
"""Share of time a device may send in the main sub-band. Source: ETSI EN 300 220-2, annex B."""

REQUIRED_SNR_DB = np.array([-7.5, -10.0, -12.5, -15.0, -17.5, -20.0])
"""For SF 7 to 12. Source: Semtech SX1276 datasheet, table 13."""

REJECTION_DB = np.array(
    [
        [6.0, -16.0, -18.0, -19.0, -19.0, -20.0],
        [-24.0, 6.0, -20.0, -22.0, -22.0, -22.0],
        [-27.0, -27.0, 6.0, -23.0, -25.0, -25.0],
        [-30.0, -30.0, -30.0, 6.0, -26.0, -28.0],
        [-33.0, -33.0, -33.0, -33.0, 6.0, -29.0],
        [-36.0, -36.0, -36.0, -36.0, -36.0, 6.0],
    ]
)
"""Lead that a signal (row) needs over interference (column) of each SF. Source: Goursaud and Gorce 2015, table 3."""

_LOW_RATE_SYMBOL_US = 16_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSettings:
    """How a device sends."""

    spreading_factor: int
    bandwidth_hz: int = 125_000
    coding_rate: int = 1
    """1 to 4, for 4/5 to 4/8."""
    has_header: bool = True
    has_crc: bool = True
    preamble_symbols: int = PREAMBLE_SYMBOLS

    def __post_init__(self) -> None:
        for field, value, allowed in (
            ("spreading_factor", self.spreading_factor, SPREADING_FACTORS),
            ("bandwidth_hz", self.bandwidth_hz, BANDWIDTHS_HZ),
            ("coding_rate", self.coding_rate, (1, 2, 3, 4)),
            ("preamble_symbols", self.preamble_symbols, range(6, 65_536)),
        ):
            if value not in allowed:
                raise ScenarioInvalid(f"lora.{field}: {value!r}, one of {allowed} needed")


def time_on_air_us(payload_bytes: int, settings: LoraSettings) -> int:
    """Exact duration of a packet with that physical payload. Source: Semtech SX1276 datasheet, 4.1.1.7."""
    if not 0 <= payload_bytes <= MAX_PAYLOAD_BYTES:
        raise ScenarioInvalid(f"lora.payload_bytes: {payload_bytes!r}, 0 to {MAX_PAYLOAD_BYTES} needed")
    sf = settings.spreading_factor
    # Exact: a symbol lasts 2^SF / bandwidth, and every allowed bandwidth divides a million times a power of two.
    quarter_symbol_us = (1 << sf) * 250_000 // settings.bandwidth_hz
    is_low_rate = 4 * quarter_symbol_us > _LOW_RATE_SYMBOL_US
    bits = 8 * payload_bytes - 4 * sf + 28 + 16 * settings.has_crc - 20 * (not settings.has_header)
    blocks = max(0, -(-bits // (4 * (sf - 2 * is_low_rate))))
    payload_symbols = 8 + blocks * (settings.coding_rate + 4)
    return (4 * settings.preamble_symbols + 17 + 4 * payload_symbols) * quarter_symbol_us


def silence_after_us(airtime_us: int, duty_cycle: float = EU868_DUTY_CYCLE) -> int:
    """How long a device must stay silent after a packet, so that it never exceeds its duty cycle (0-1)."""
    if not 0.0 < duty_cycle <= 1.0:
        raise ScenarioInvalid(f"lora.duty_cycle: {duty_cycle!r}, more than 0 and at most 1 needed")
    return math.ceil(airtime_us / duty_cycle - 1e-6) - airtime_us


def sensitivity_dbm(spreading_factor: int, bandwidth_hz: int = 125_000) -> float:
    """Weakest signal that a gateway can read alone."""
    floor = THERMAL_NOISE_DBM_PER_HZ + 10.0 * math.log10(bandwidth_hz) + GATEWAY_NOISE_FIGURE_DB
    return floor + float(REQUIRED_SNR_DB[spreading_factor - SPREADING_FACTORS[0]])


def fastest_spreading_factor(rssi_dbm: float, *, margin_db: float = 10.0, bandwidth_hz: int = 125_000) -> int | None:
    """Lowest SF that reaches the gateway with a margin, as adaptive data rate settles on; None when none does."""
    reachable = (sf for sf in SPREADING_FACTORS if rssi_dbm >= sensitivity_dbm(sf, bandwidth_hz) + margin_db)
    return next(reachable, None)


def earliest_starts_s(wanted_s: Sequence[float], airtime_us: int, duty_cycle: float = EU868_DUTY_CYCLE) -> list[float]:
    """When one device's packets, wanted at ascending times, can start under its duty cycle; they wait their turn."""
    spacing_s = (airtime_us + silence_after_us(airtime_us, duty_cycle)) / 1e6
    starts: list[float] = []
    for time_s in wanted_s:
        starts.append(max(time_s, starts[-1] + spacing_s) if starts else time_s)
    return starts


def received(
    *,
    start_s: PerTransmission,
    airtime_s: PerTransmission,
    channel: PerTransmissionIndex,
    spreading_factor: PerTransmissionIndex,
    rssi_dbm: PerTransmission,
) -> PerTransmissionFlag:
    """Which uplinks a gateway reads: strong enough alone, and ahead of all that overlaps them on their channel.

    The powers of interferers of one SF add up; each SF is rejected by its own margin.
    """
    order = np.lexsort((start_s, channel))
    sensitivities = np.array([sensitivity_dbm(sf) for sf in SPREADING_FACTORS])
    survived = _survivors(
        start_s[order],
        airtime_s[order],
        channel[order],
        spreading_factor[order] - SPREADING_FACTORS[0],
        rssi_dbm[order],
        sensitivities,
    )
    result = np.empty(len(order), dtype=np.bool_)
    result[order] = survived
    return result


@njit
def _survivors(
    start_s: NDArray[np.float64],
    airtime_s: NDArray[np.float64],
    channel: NDArray[np.int64],
    sf_index: NDArray[np.int64],
    rssi_dbm: NDArray[np.float64],
    sensitivities_dbm: NDArray[np.float64],
) -> NDArray[np.bool_]:
    num = len(start_s)
    longest_s = airtime_s.max() if num else 0.0
    survived = np.zeros(num, dtype=np.bool_)
    interference_mw = np.zeros(6)
    for i in range(num):
        if rssi_dbm[i] < sensitivities_dbm[sf_index[i]]:
            continue
        interference_mw[:] = 0.0
        j = i - 1
        while j >= 0 and channel[j] == channel[i] and start_s[j] > start_s[i] - longest_s:
            if start_s[j] + airtime_s[j] > start_s[i]:
                interference_mw[sf_index[j]] += 10.0 ** (rssi_dbm[j] / 10.0)
            j -= 1
        j = i + 1
        while j < num and channel[j] == channel[i] and start_s[j] < start_s[i] + airtime_s[i]:
            interference_mw[sf_index[j]] += 10.0 ** (rssi_dbm[j] / 10.0)
            j += 1
        is_clear = True
        for k in range(6):
            if interference_mw[k] > 0.0:
                lead_db = rssi_dbm[i] - 10.0 * math.log10(interference_mw[k])
                is_clear = is_clear and lead_db >= REJECTION_DB[sf_index[i], k]
        survived[i] = is_clear
    return survived
