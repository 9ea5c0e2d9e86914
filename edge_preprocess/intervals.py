"""A stream of frames and log lines cut into intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_preprocess.clock_check import ClockCheck

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from telemetry_sim.records import LogRecord, TelemetryFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalInput:
    """What came in between two multiples of the interval; the later one belongs to it."""

    number: int
    """end_s / interval_s."""
    frames: tuple[TelemetryFrame, ...]
    logs: tuple[LogRecord, ...]


def interval_number(time_s: float, interval_s: float) -> int:
    """Which interval a moment belongs to: n for (n - 1) * interval_s < time_s <= n * interval_s."""
    return math.ceil(round(time_s / interval_s, 9))


def cut(frames: Iterable[TelemetryFrame], logs: Iterable[LogRecord], *, interval_s: float) -> Iterator[IntervalInput]:
    """Intervals that hold a frame, in order; lines go to the interval of their time, or to the next one that exists.

    Both inputs must be in time order; a frame whose time can't be believed stays with the interval in which it came.
    """
    clock = ClockCheck()
    lines = iter(logs)
    line = next(lines, None)
    number: int | None = None
    held: list[TelemetryFrame] = []
    for frame in frames:
        is_doubted = clock.judge(frame.time_s, frame.period_s) in {"time_invalid", "clock_ahead"}
        of_frame = number if is_doubted else interval_number(frame.time_s, interval_s)
        if number is not None and of_frame is not None and of_frame > number:
            taken, line = _lines_until(number * interval_s, line, lines)
            yield IntervalInput(number=number, frames=tuple(held), logs=taken)
            held = []
        if number is None or (of_frame is not None and of_frame > number):
            number = of_frame
        held.append(frame)
    if number is not None:
        taken, _ = _lines_until(math.inf, line, lines)
        yield IntervalInput(number=number, frames=tuple(held), logs=taken)


def _lines_until(
    end_s: float, line: LogRecord | None, lines: Iterator[LogRecord]
) -> tuple[tuple[LogRecord, ...], LogRecord | None]:
    """Lines up to `end_s`, and the first one behind it."""
    taken = []
    while line is not None and not line.time_s > end_s:
        taken.append(line)
        line = next(lines, None)
    return tuple(taken), line
