"""The Numenta Anomaly Benchmark's scorer, written from its published definition.

Source: Lavin and Ahmad 2015, "Evaluating Real-time Anomaly Detection Algorithms", sections II and III.
Shapes: N rows of a series.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_PROBATION_SHARE = 0.15
_MAX_PROBATION = 750
_FAR = 3.0
"""Window widths behind a window after which a false alarm costs its full weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One labelled series."""

    name: str
    time_s: NDArray[np.float64]
    value: NDArray[np.float64]
    windows: tuple[tuple[int, int], ...]
    """First and last row of each labelled window."""

    @property
    def num_probation(self) -> int:
        """Rows at the start that are never scored."""
        return min(int(_PROBATION_SHARE * len(self.value)), _MAX_PROBATION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What hits, misses and false alarms weigh."""

    tp_weight: float
    fn_weight: float
    fp_weight: float


def load_series(folder: Path) -> list[Series]:
    """Every labelled series under `folder`, in name order."""
    labels = json.loads((folder / "labels" / "combined_windows.json").read_text())
    found = []
    for path in sorted((folder / "data").glob("*/*.csv")):
        name = f"{path.parent.name}/{path.name}"
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        stamps = [row["timestamp"] for row in rows]
        times = [datetime.fromisoformat(stamp + "+00:00").timestamp() for stamp in stamps]
        place = {time: index for index, time in reversed(list(enumerate(times)))}
        windows = [
            tuple(place[datetime.fromisoformat(edge.split(".")[0] + "+00:00").timestamp()] for edge in window)
            for window in labels.get(name, [])
        ]
        value = np.array([float(row["value"]) for row in rows])
        found.append(Series(name=name, time_s=np.array(times), value=value, windows=tuple(windows)))
    return found


def load_profiles(folder: Path) -> dict[str, Profile]:
    """The scoring profiles by name."""
    found = json.loads((folder / "config" / "profiles.json").read_text())
    return {
        name: Profile(
            tp_weight=entry["CostMatrix"]["tpWeight"],
            fn_weight=entry["CostMatrix"]["fnWeight"],
            fp_weight=entry["CostMatrix"]["fpWeight"],
        )
        for name, entry in found.items()
    }


def raw_score(series: Series, scores: NDArray[np.float64], threshold: float, profile: Profile) -> float:
    """Sum over windows and false alarms for the rows whose score reaches the threshold."""
    alarms = np.flatnonzero(scores >= threshold)
    alarms = alarms[alarms >= series.num_probation]
    total = 0.0
    inside = np.zeros(len(scores), dtype=bool)
    perfect = _scaled_sigmoid(np.array([-1.0]))[0]
    for first, last in series.windows:
        inside[first : last + 1] = True
        hits = alarms[(alarms >= first) & (alarms <= last)]
        if not len(hits):
            total -= profile.fn_weight
            continue
        width = last - first + 1
        total += profile.tp_weight * _scaled_sigmoid(-(last - hits[:1] + 1) / width)[0] / perfect
    false = alarms[~inside[alarms]]
    return total + profile.fp_weight * float(_false_alarm_costs(series, false).sum())


def normalised(raw: float, num_windows: int, profile: Profile) -> float:
    """0 for a detector that never alarms, 100 for one that alarms once, at once, in every window."""
    silent = -profile.fn_weight * num_windows
    return 100.0 * (raw - silent) / (profile.tp_weight * num_windows - silent)


def benchmark_score(
    series: list[Series], scores: list[NDArray[np.float64]], threshold: float, profile: Profile
) -> float:
    """The normalised score over all series."""
    raw = sum(raw_score(one, given, threshold, profile) for one, given in zip(series, scores, strict=True))
    return normalised(raw, sum(len(one.windows) for one in series), profile)


def _scaled_sigmoid(position: NDArray[np.float64]) -> NDArray[np.float64]:
    """From +1 at a window's left edge over 0 at its right edge to -1 well behind it."""
    # 2 / (1 + exp(5 y)) - 1 = -tanh(5 y / 2)
    return np.where(position > _FAR, -1.0, -np.tanh(2.5 * position))


def _false_alarm_costs(series: Series, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Between 0 and -1 by distance behind the window before; -1 where there is none."""
    costs = np.full(len(rows), -1.0)
    for first, last in series.windows:
        behind = rows > last
        costs[behind] = _scaled_sigmoid((rows[behind] - last) / (last - first))
    return costs
