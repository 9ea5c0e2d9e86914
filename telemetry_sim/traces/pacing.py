"""Recorded telemetry at the speed of a clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from telemetry_sim.records import TelemetryFrame

MAX_WAIT_S = 60.0
"""A silence in the recording is cut to this (of recorded time)."""


def paced(
    frames: Iterable[TelemetryFrame],
    *,
    pace: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[TelemetryFrame]:
    """The same frames, each not before its time: `pace` 1 is real time, 10 ten times as fast, 0 without waiting.

    A consumer that falls behind is not waited for; the frames then come without a pause until it has caught up.
    """
    due_s = clock()
    previous_s: float | None = None
    for frame in frames:
        if pace > 0:
            gap_s = frame.period_s if previous_s is None else frame.time_s - previous_s
            due_s += min(max(gap_s, 0.0), MAX_WAIT_S) / pace
            previous_s = frame.time_s
            wait_s = due_s - clock()
            if wait_s > 0:
                sleep(wait_s)
        yield frame
