"""Whether the clock that stamped a frame can be believed.

A leap forward is believed once a second frame carries on from it: a source that was away goes on so, a broken clock
seldom does. A step back is believed once a few frames in a row carry on from it: a source that was started again goes
on so, frames that come late or twice seldom do. One frame with an absurd time must not close an interval or make all
later frames look old.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_TIME_S = 1e10
"""Three centuries; milliseconds since 1970 taken for seconds are more."""
_LEAP_S = 3600.0
_LEAP_PERIODS = 100.0
_MAX_PERIOD_S = 86_400.0
_NUM_TO_STEP_BACK = 3
"""Frames in a row from an earlier time, the last of which is believed."""


class ClockCheck:
    """Judges frames in the order in which they came."""

    def __init__(self) -> None:
        self._latest_s = -math.inf
        """End of the newest frame that was believed."""
        self._suspect_s = math.nan
        self._num_suspect = 0
        """Frames in a row that were doubted and carry on from each other."""

    def judge(self, time_s: float, period_s: float) -> str:
        """Why the frame's time can't be believed, or an empty string."""
        if not (0 < time_s <= _MAX_TIME_S and 0 < period_s <= _MAX_PERIOD_S):
            return "time_invalid"
        leap_s = max(_LEAP_S, _LEAP_PERIODS * period_s)
        num_alike = 1 + self._num_suspect * (0 < time_s - self._suspect_s <= leap_s)
        if time_s <= self._latest_s and num_alike < _NUM_TO_STEP_BACK:
            return self._doubt(time_s, num_alike, "time_backwards")
        if math.isfinite(self._latest_s) and time_s - self._latest_s > leap_s and num_alike == 1:
            return self._doubt(time_s, num_alike, "clock_ahead")
        self._latest_s = time_s
        self._suspect_s, self._num_suspect = math.nan, 0
        return ""

    def state(self) -> tuple[float, float, float]:
        """Everything needed to go on after a restart."""
        return self._latest_s, self._suspect_s, float(self._num_suspect)

    def restore(self, state: Sequence[float]) -> None:
        """Go on from `state`; one that does not count the doubted frames has doubted one at most."""
        self._latest_s, self._suspect_s, *counted = state
        self._num_suspect = int(counted[0]) if counted else int(math.isfinite(self._suspect_s))

    def _doubt(self, time_s: float, num_alike: int, reason: str) -> str:
        self._suspect_s, self._num_suspect = time_s, num_alike
        return reason
