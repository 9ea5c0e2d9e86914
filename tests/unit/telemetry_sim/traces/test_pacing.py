"""Recorded telemetry at the speed of a clock, with a clock that only sleeping moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from telemetry_sim.traces import open_trace, paced

RECORDINGS = Path(__file__).resolve().parents[3] / "replay" / "recordings"


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def read(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now_s += seconds


@pytest.mark.parametrize("pace", [1.0, 10.0])
def test_frames_come_at_their_time(pace: float) -> None:
    clock = Clock()
    for frame in paced(open_trace(RECORDINGS / "own.parquet").frames(), pace=pace, clock=clock.read, sleep=clock.sleep):
        assert clock.now_s - 100.0 == pytest.approx(frame.time_s / pace)


def test_without_a_pace_nobody_waits() -> None:
    clock = Clock()
    frames = list(paced(open_trace(RECORDINGS / "own.parquet").frames(), pace=0, clock=clock.read, sleep=clock.sleep))
    assert (len(frames), clock.now_s) == (40, 100.0)


def test_a_silence_of_the_recording_is_shortened() -> None:
    clock = Clock()
    trace = open_trace(RECORDINGS / "scope_multi4")
    frames = list(paced(trace.frames(), pace=1, clock=clock.read, sleep=clock.sleep))
    assert clock.now_s - 100.0 < frames[-1].time_s - 20


def test_a_slow_consumer_is_not_made_slower() -> None:
    clock = Clock()
    for _ in paced(open_trace(RECORDINGS / "own.parquet").frames(), pace=1, clock=clock.read, sleep=clock.sleep):
        clock.now_s += 2.0
    assert clock.now_s - 100.0 == pytest.approx(80.0, abs=2.0)
