"""Application readings: each slice's stream, with the devices' own levels, noise and a slow wave."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from telemetry_sim.faults import FaultKind
from telemetry_sim.records import SensorColumns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from telemetry_sim.faults import Fault
    from telemetry_sim.scenarios import Scenario

_SENSOR_FAULTS = frozenset(
    {FaultKind.SENSOR_STUCK, FaultKind.SENSOR_DRIFT, FaultKind.SENSOR_SPIKES, FaultKind.CLOCK_SKEW}
)
DRIFT_PER_S = 0.5
"""In standard deviations of the sensor's noise."""
SPIKE_CHANCE = 0.2
SPIKE_HEIGHT = 25.0
"""In standard deviations of the sensor's noise."""
SKEW_S = 30.0
"""Clock error at full strength."""
WAVE_S = 600.0
"""Period of the slow wave; a day made short enough to be seen."""


class Sensors:
    """What the devices measure; last readings are kept for those that get stuck."""

    def __init__(self, scenario: Scenario, slices: NDArray[np.int16], rng: np.random.Generator) -> None:
        streams = [population.sensor for population in scenario.populations]
        self.names = tuple(stream.name for stream in streams if stream is not None)
        index, numbers = 0, []
        for stream in streams:
            numbers.append(-1 if stream is None else index)
            index += stream is not None
        self._stream = np.array(numbers, np.int16)[slices]
        self._level = np.array([0.0 if s is None else s.mean for s in streams])[slices]
        self._level += np.array([0.0 if s is None else s.spread for s in streams])[slices] * rng.standard_normal(
            len(slices)
        )
        self._noise = np.array([0.0 if s is None else s.noise for s in streams])[slices]
        self._swing = np.array([0.0 if s is None else s.swing for s in streams])[slices]
        self._phase = rng.uniform(0.0, 0.3, len(slices))
        self._last = self._level.copy()
        self._rng = rng

    def read(
        self,
        heard: NDArray[np.int64],
        cells: NDArray[np.int16],
        faults: Sequence[Fault],
        time_s: float,
    ) -> SensorColumns:
        """Readings of the devices that are heard now, at these cells; some have no sensor."""
        is_read = self._stream[heard] >= 0
        who = heard[is_read]
        wave = np.sin(2.0 * math.pi * (time_s / WAVE_S + self._phase[who]))
        value = self._level[who] + self._swing[who] * wave + self._noise[who] * self._rng.standard_normal(len(who))
        stamp_s = np.full(len(who), time_s)
        for fault in faults:
            if fault.kind in _SENSOR_FAULTS and fault.is_active(time_s):
                self._spoil(fault, who, value, stamp_s, time_s)
        self._last[who] = value
        return SensorColumns(
            time_s=stamp_s,
            device_id=who,
            cell=cells[is_read],
            stream=self._stream[who],
            value=value,
        )

    def _spoil(
        self,
        fault: Fault,
        who: NDArray[np.int64],
        value: NDArray[np.float64],
        stamp_s: NDArray[np.float64],
        time_s: float,
    ) -> None:
        """Write a fault's effect into the readings of the devices it names."""
        hit = np.flatnonzero(np.isin(who, fault.devices))
        noise = self._noise[who[hit]]
        match fault.kind:
            case FaultKind.SENSOR_STUCK:
                value[hit] = self._last[who[hit]]
            case FaultKind.SENSOR_DRIFT:
                value[hit] += DRIFT_PER_S * fault.strength * (time_s - fault.start_s) * noise
            case FaultKind.SENSOR_SPIKES:
                is_spike = self._rng.random(len(hit)) < SPIKE_CHANCE
                value[hit] += is_spike * SPIKE_HEIGHT * noise * np.where(self._rng.random(len(hit)) < 0.5, -1.0, 1.0)
            case _:
                stamp_s[hit] += SKEW_S * fault.strength
