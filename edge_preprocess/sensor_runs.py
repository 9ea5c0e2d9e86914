"""How long sensors' readings have stood still, beside how often they usually differ.

A sensor of fine resolution never reads the same twice; a coarse one, or one that tells of events, does so all the time.
So a run of equal readings is judged by the sensor's own habit. Shapes: K sensors known, N sensors of an interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

PerSensor = Float64[NDArray[np.float64], " sensors"]
PerSensorIndex = Int64[NDArray[np.int64], " sensors"]

_PRIOR_PAIRS = 0.5
"""Pairs of consecutive readings, half of which differ, that a sensor's own are added to."""
_CHANCE = 0.01
"""Of a run as long where nothing is wrong."""
_PAIRS_OF_MOVERS = 8.0
"""Pairs, all of which differ, that stand for a sensor of which only that it moves is known."""
_PARTS = ("changes", "pairs", "run", "last")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """One entry per sensor heard in an interval, about its readings in the order in which they came."""

    number: PerSensor
    first: PerSensor
    last: PerSensor
    num_changes: PerSensor
    """Readings that differ from the one before."""
    num_still: PerSensor
    """Readings at the end that are equal to the one before."""


class SensorRuns:
    """Counts pairs of consecutive readings per sensor; a run under way counts once it has ended."""

    def __init__(self) -> None:
        self._changes: PerSensor = np.empty(0)
        self._pairs: PerSensor = np.empty(0)
        self._run: PerSensor = np.empty(0)
        """Equal pairs since the last change, which are not among the pairs yet."""
        self._last: PerSensor = np.empty(0)
        """Newest reading, NaN where it is not known."""

    def add(self, num: int, order: PerSensorIndex) -> None:
        """Append so many sensors that were never heard, then sort all by `order`."""
        for name in _PARTS:
            fresh = np.full(num, np.nan if name == "last" else 0.0)
            setattr(self, f"_{name}", np.concatenate((getattr(self, f"_{name}"), fresh))[order])

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Forget all others."""
        for name in _PARTS:
            setattr(self, f"_{name}", getattr(self, f"_{name}")[kept])

    def learn(self, place: PerSensorIndex, heard: Sequences) -> None:
        """Take an interval's readings of the sensors at these places."""
        before = self._last[place]
        is_known = ~np.isnan(before)
        num_changes = heard.num_changes + (is_known & (before != heard.first))
        num_pairs = heard.number - 1.0 + is_known
        goes_on = num_changes == 0
        run = self._run[place]
        self._pairs[place] += np.where(goes_on, 0.0, run + num_pairs - heard.num_still)
        self._changes[place] += num_changes
        self._run[place] = np.where(goes_on, run + num_pairs, heard.num_still)
        self._last[place] = heard.last

    def are_stuck(self, place: PerSensorIndex) -> NDArray[np.bool_]:
        """Whether the run under way is longer than chance lets it be for a sensor that has moved before."""
        changes, pairs = self._changes[place], self._pairs[place]
        differs = (changes + 0.5 * _PRIOR_PAIRS) / (pairs + _PRIOR_PAIRS)
        with np.errstate(under="ignore"):
            return (changes > 0) & ((1.0 - differs) ** self._run[place] < _CHANCE)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything needed to go on after a restart."""
        return {name: getattr(self, f"_{name}").copy() for name in _PARTS}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from `state`; one of an older version holds only `moves`, whether each sensor ever moved."""
        if "changes" not in state:
            moved = np.where(np.array(state["moves"], dtype=bool), _PAIRS_OF_MOVERS, 0.0)
            still = np.zeros(len(moved))
            state = {"changes": moved, "pairs": moved, "run": still, "last": np.full(len(moved), np.nan)}
        for name in _PARTS:
            setattr(self, f"_{name}", np.array(state[name], dtype=np.float64))


def sequences_of(value: PerSensor, starts: PerSensorIndex, ends: PerSensorIndex) -> Sequences:
    """From readings grouped by sensor: those of one lie from its start to before its end, at least one each."""
    is_change = np.empty(len(value), dtype=bool)
    is_change[1:] = value[1:] != value[:-1]
    is_change[starts] = False
    place = np.arange(len(value))
    newest = np.maximum.reduceat(np.where(is_change, place, np.repeat(starts, ends - starts)), starts)
    return Sequences(
        number=(ends - starts).astype(np.float64),
        first=value[starts],
        last=value[ends - 1],
        num_changes=np.add.reduceat(is_change.astype(np.float64), starts),
        num_still=(ends - 1 - newest).astype(np.float64),
    )
