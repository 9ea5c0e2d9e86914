"""Devices around one LoRaWAN gateway: what they send in a stretch of time and what arrives.

Shapes: D devices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Gt
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

from telemetry_sim.errors import ScenarioInvalid
from telemetry_sim.lora import (
    EU868_DUTY_CYCLE,
    SPREADING_FACTORS,
    LoraSettings,
    fastest_spreading_factor,
    received,
    silence_after_us,
    time_on_air_us,
)

PerDevice = Float64[NDArray[np.float64], " devices"]
PerDeviceCount = Int64[NDArray[np.int64], " devices"]

NUM_CHANNELS = 8
"""Of a usual gateway in the EU868 band."""
TRANSMIT_W = 0.132
"""Drawn while sending at about 14 dBm: 40 mA at 3.3 V, between the SX1276 datasheet's rows for 13 and 17 dBm."""
_JITTER = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraCell:
    """How the devices of one gateway report."""

    rssi_dbm: PerDevice
    """Level of each device at the gateway."""
    interval_s: Annotated[float, Gt(0)]
    """Wanted spacing of a device's reports; the duty cycle may stretch it."""
    payload_bytes: int
    num_channels: int = NUM_CHANNELS
    duty_cycle: float = EU868_DUTY_CYCLE
    margin_db: float = 10.0
    """Kept by adaptive data rate above the sensitivity."""

    def __post_init__(self) -> None:
        if self.interval_s <= 0.0:
            raise ScenarioInvalid(f"lora.interval_s: {self.interval_s!r}, more than 0 needed")
        if self.num_channels < 1:
            raise ScenarioInvalid(f"lora.num_channels: {self.num_channels!r}, at least 1 needed")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraOutcome:
    """What a stretch of time brought, per device."""

    num_sent: PerDeviceCount
    num_received: PerDeviceCount
    airtime_s: PerDevice
    energy_j: PerDevice
    """Spent on sending."""


def spreading_factors(cell: LoraCell) -> PerDeviceCount:
    """The SF that adaptive data rate gives each device; those out of reach stay at the slowest."""
    found = [fastest_spreading_factor(float(rssi), margin_db=cell.margin_db) for rssi in cell.rssi_dbm]
    return np.array([SPREADING_FACTORS[-1] if sf is None else sf for sf in found], dtype=np.int64)


def send_uplinks(cell: LoraCell, duration_s: float, rng: np.random.Generator) -> LoraOutcome:
    """Reports of every device at its own phase, jittered and hopping over the channels, and their fate.

    A device never exceeds its duty cycle: where the interval is too short for it, reports are spaced out.
    """
    factors = spreading_factors(cell)
    airtimes_us = {
        sf: time_on_air_us(cell.payload_bytes, LoraSettings(spreading_factor=sf)) for sf in SPREADING_FACTORS
    }
    airtime_us = np.array([airtimes_us[int(sf)] for sf in factors], dtype=np.int64)
    least_us = airtime_us + np.array([silence_after_us(int(us), cell.duty_cycle) for us in airtime_us], dtype=np.int64)
    # Jitter may bring two reports closer by its width on either side.
    spacing_s = np.maximum(cell.interval_s, least_us / 1e6 / (1.0 - _JITTER))
    phase_s = rng.uniform(0.0, spacing_s)
    num_sent = np.maximum(0, np.ceil((duration_s - phase_s) / spacing_s)).astype(np.int64)
    device = np.repeat(np.arange(len(factors)), num_sent)
    number = np.arange(len(device)) - np.repeat(np.cumsum(num_sent) - num_sent, num_sent)
    jitter = rng.uniform(0.0, _JITTER, len(device))
    got = received(
        start_s=phase_s[device] + (number + jitter) * spacing_s[device],
        airtime_s=airtime_us[device] / 1e6,
        channel=rng.integers(0, cell.num_channels, len(device)),
        spreading_factor=factors[device],
        rssi_dbm=cell.rssi_dbm[device],
    )
    on_air_s = num_sent * airtime_us / 1e6
    return LoraOutcome(
        num_sent=num_sent,
        num_received=np.bincount(device[got], minlength=len(factors)).astype(np.int64),
        airtime_s=on_air_s,
        energy_j=on_air_s * TRANSMIT_W,
    )
