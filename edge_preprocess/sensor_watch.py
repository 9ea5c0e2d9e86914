"""Sensors whose readings stand still or leave their usual range, per cell and stream.

Shapes: K sensors known, N readings of the interval.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_preprocess.detectors import ALARM
from edge_preprocess.ewma import EwmaConfig, EwmaDetector
from edge_preprocess.sensor_runs import PerSensor, PerSensorIndex, SensorRuns, Sequences, sequences_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from telemetry_sim.records import TelemetryFrame

_MAX_STREAMS = 4096
_MAX_DEVICE = 2**51
"""So that device and stream together fit into 64 bits."""
_FORGET_AFTER_S = 7 * 86_400.0
_MAX_SENSORS = 500_000
"""Remembered from one interval to the next."""
_MIN_READINGS = 3
"""Equal readings in a row within an interval before a sensor can count as stuck."""
_MAX_ABSOLUTE = 1e12
_MAX_AHEAD_S = 5.0
"""A reading stamped further ahead of its frame comes from a wrong clock."""
_RANGE = EwmaConfig(weight=0.1, num_before_use=12, threshold=10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorFinding:
    """Sensors of one cell and stream that misbehave in the same way."""

    cell: int
    stream: int
    is_stuck: bool
    """True: readings stand still; False: they left their usual range."""
    num_sensors: int
    num_reporting: int
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Readings:
    """One entry per sensor heard in the interval."""

    key: PerSensorIndex
    cell: PerSensorIndex
    mean: PerSensor
    sequences: Sequences


class SensorWatch:
    """Remembers every sensor's usual mean and how its readings move; forgets it after a week of silence."""

    def __init__(self, num_cells: int) -> None:
        self._num_cells = num_cells
        self._keys: PerSensorIndex = np.empty(0, dtype=np.int64)
        self._runs = SensorRuns()
        self._heard_s: PerSensor = np.empty(0)
        self._range = EwmaDetector(0, _RANGE)
        self.num_received = np.zeros(num_cells, dtype=np.int64)
        self.num_quarantined = np.zeros(num_cells, dtype=np.int64)
        """Readings of the latest interval per cell; those of an unknown cell are counted at the first."""
        self.reasons: Counter[str] = Counter()
        """Why readings of the latest interval were refused."""

    def look(self, frames: Sequence[TelemetryFrame]) -> tuple[SensorFinding, ...]:
        """What misbehaves in these frames; then learns them. Counts the interval's readings."""
        readings = self._read(frames)
        if not len(readings.key):
            return ()
        now_s = max(frame.time_s for frame in frames)
        place = self._places(readings.key)
        # A state of an older version does not say when its sensors were heard: now, then.
        self._heard_s = np.minimum(self._heard_s, now_s)
        self._heard_s[place] = now_s
        means = np.full(len(self._keys), np.nan)
        means[place] = readings.mean
        score = self._range.score_many(means)[place]
        heard = readings.sequences
        self._runs.learn(place, heard)
        stands_still = (heard.num_changes == 0) & (heard.number >= _MIN_READINGS)
        stuck = stands_still & self._runs.are_stuck(place)
        # A stuck sensor's level is no news, and must not become the usual one.
        means[place[stuck]] = np.nan
        self._range.learn_many(means)
        self._forget(now_s)
        return (*_findings(readings, stuck, None), *_findings(readings, (score >= ALARM) & ~stuck, score))

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything needed to go on after a restart."""
        parts = {f"range_{name}": part for name, part in self._range.state().items()}
        return {"keys": self._keys, "heard_s": self._heard_s, **self._runs.state(), **parts}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from `state`."""
        self._keys = np.array(state["keys"], dtype=np.int64)
        self._runs.restore(state)
        self._heard_s = np.array(state.get("heard_s", np.full(len(self._keys), np.inf)), dtype=np.float64)
        self._range = EwmaDetector(len(self._keys), _RANGE)
        self._range.restore({name: state[f"range_{name}"] for name in self._range.state()})

    def _read(self, frames: Sequence[TelemetryFrame]) -> _Readings:
        reporting = [frame for frame in frames if frame.sensors is not None]
        columns = [frame.sensors for frame in reporting if frame.sensors is not None]
        self.reasons = Counter()
        if not columns:
            self.num_received = self.num_quarantined = np.zeros(self._num_cells, dtype=np.int64)
            return _grouped(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
        value = np.concatenate([c.value for c in columns])
        stream = np.concatenate([c.stream for c in columns]).astype(np.int64)
        device = np.concatenate([c.device_id for c in columns])
        cell = np.concatenate([c.cell for c in columns]).astype(np.int64)
        is_known = (cell >= 0) & (cell < self._num_cells)
        due_s = np.repeat([frame.time_s for frame in reporting], [len(c.value) for c in columns])
        good = np.ones(len(value), dtype=bool)
        for reason, is_bad in (
            ("unknown_cell", ~is_known),
            ("unknown_stream", (stream < 0) | (stream >= _MAX_STREAMS)),
            ("unknown_device", (device < -_MAX_DEVICE) | (device >= _MAX_DEVICE)),
            ("missing", np.isnan(value)),
            ("infinite", np.isinf(value)),
            ("absurd", np.abs(value) > _MAX_ABSOLUTE),
            # What was buffered may come late; nothing is measured before its time.
            ("clock_ahead", ~(np.concatenate([c.time_s for c in columns]) <= due_s + _MAX_AHEAD_S)),
        ):
            if is_bad.any():
                self.reasons[f"sensor_{reason}"] += int((is_bad & good).sum())
                good &= ~is_bad
        at = np.where(is_known, cell, 0)
        self.num_received = np.bincount(at, minlength=self._num_cells)
        self.num_quarantined = np.bincount(at[~good], minlength=self._num_cells)
        return _grouped(device[good] * _MAX_STREAMS + stream[good], cell[good], value[good])

    def _places(self, key: PerSensorIndex) -> PerSensorIndex:
        """Where each sensor's memory lies; sensors heard for the first time are added."""
        new = np.setdiff1d(key, self._keys, assume_unique=True)
        if len(new):
            order = np.argsort(np.concatenate((self._keys, new)), kind="stable")
            added = np.zeros(len(new))
            self._keys = np.concatenate((self._keys, new))[order]
            self._runs.add(len(new), order)
            self._heard_s = np.concatenate((self._heard_s, added))[order]
            known = self._range.state()
            self._range = EwmaDetector(len(order), _RANGE)
            self._range.restore({name: np.concatenate((part, added))[order] for name, part in known.items()})
        return np.searchsorted(self._keys, key)

    def _forget(self, now_s: float) -> None:
        """Drop sensors that have long been silent and, beyond the bound, those that were learned least of."""
        known = self._range.state()
        kept = self._heard_s > now_s - _FORGET_AFTER_S
        if len(kept) > _MAX_SENSORS:
            kept[np.argsort(known["count"], kind="stable")[:-_MAX_SENSORS]] = False
        if kept.all():
            return
        self._keys, self._heard_s = self._keys[kept], self._heard_s[kept]
        self._runs.keep(kept)
        self._range = EwmaDetector(len(self._keys), _RANGE)
        self._range.restore({name: part[kept] for name, part in known.items()})


def _grouped(key: PerSensorIndex, cell: PerSensorIndex, value: PerSensor) -> _Readings:
    order = np.argsort(key, kind="stable")
    key, cell, value = key[order], cell[order], value[order]
    if not len(key):
        nothing = Sequences(number=value, first=value, last=value, num_changes=value, num_still=value)
        return _Readings(key=key, cell=cell, mean=value, sequences=nothing)
    starts = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
    ends = np.append(starts[1:], len(key))
    sequences = sequences_of(value, starts, ends)
    return _Readings(
        key=key[starts],
        cell=cell[ends - 1],
        mean=np.add.reduceat(value, starts) / sequences.number,
        sequences=sequences,
    )


def _findings(readings: _Readings, chosen: NDArray[np.bool_], score: PerSensor | None) -> tuple[SensorFinding, ...]:
    """One finding per cell and stream with a chosen sensor; a stuck sensor is certain (score 1)."""
    stream = readings.key % _MAX_STREAMS
    place = readings.cell * _MAX_STREAMS + stream
    found = []
    for code in np.unique(place[chosen]):
        here = place == code
        cell, number = divmod(int(code), _MAX_STREAMS)
        found.append(
            SensorFinding(
                cell=cell,
                stream=number,
                is_stuck=score is None,
                num_sensors=int((here & chosen).sum()),
                num_reporting=int(here.sum()),
                score=1.0 if score is None else float(score[here & chosen].max()),
            )
        )
    return tuple(found)
