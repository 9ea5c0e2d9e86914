"""Whether the clock that stamped a frame can be believed.

A leap forward is believed once a second frame carries on from it: a source that was away goes on so, a broken clock
seldom does. One frame with an absurd time must not close an interval or make all later frames look old.
"""

from __future__ import annotations

import math

_MAX_TIME_S = 1e10
"""Three centuries; milliseconds since 1970 taken for seconds are more."""
_LEAP_S = 3600.0
_LEAP_PERIODS = 100.0
_MAX_PERIOD_S = 86_400.0


class ClockCheck:
    """Judges frames in the order in which they came."""

    def __init__(self) -> None:
        self.latest_s = -math.inf
        """End of the newest frame that was believed."""
        self._suspect_s = math.nan

    def judge(self, time_s: float, period_s: float) -> str:
        """Why the frame's time can't be believed, or an empty string."""
        if not (0 < time_s <= _MAX_TIME_S and 0 < period_s <= _MAX_PERIOD_S):
            return "time_invalid"
        if time_s <= self.latest_s:
            return "time_backwards"
        leap_s = max(_LEAP_S, _LEAP_PERIODS * period_s)
        carries_on = 0 < time_s - self._suspect_s <= leap_s
        if math.isfinite(self.latest_s) and time_s - self.latest_s > leap_s and not carries_on:
            self._suspect_s = time_s
            return "clock_ahead"
        self.latest_s = time_s
        self._suspect_s = math.nan
        return ""

    def state(self) -> tuple[float, float]:
        """Everything needed to go on after a restart."""
        return self.latest_s, self._suspect_s

    def restore(self, state: tuple[float, float]) -> None:
        """Go on from `state`."""
        self.latest_s, self._suspect_s = state
