"""Recorded telemetry as the loop's source, an interval at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from edge_preprocess.intervals import IntervalInput, cut
from telemetry_sim.records import LogRecord, Telemetry, TelemetryFrame
from telemetry_sim.topology import Topology
from telemetry_sim.traces import TraceReader

DEFAULT_INTERVAL_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """How a recording is cut into decision intervals."""

    interval_s: float
    is_per_state: bool
    """An interval for every frame: each is a state on which the recorded controller decided."""


def cadence_of(trace: TraceReader, interval_s: float | None) -> Cadence:
    """The wanted interval; by default each state of a trace that holds a peer's decisions, otherwise ten seconds."""
    if interval_s is not None:
        return Cadence(interval_s=interval_s, is_per_state=False)
    if trace.decisions:
        return Cadence(interval_s=trace.summary.period_s, is_per_state=True)
    return Cadence(interval_s=DEFAULT_INTERVAL_S, is_per_state=False)


class RecordedSource:
    """A recording as a telemetry source; stretches without a frame are passed over."""

    def __init__(self, trace: TraceReader, cadence: Cadence) -> None:
        self._topology = trace.topology
        self._intervals: Iterator[IntervalInput]
        if cadence.is_per_state:
            self._intervals = _states(trace.frames(), trace.logs())
        else:
            self._intervals = cut(trace.frames(), trace.logs(), interval_s=cadence.interval_s)

    @property
    def topology(self) -> Topology:
        return self._topology

    def next_interval(self, duration_s: float) -> Telemetry | None:
        """The next interval that holds a frame; its length was settled by the cadence."""
        del duration_s
        found = next(self._intervals, None)
        return None if found is None else Telemetry(frames=found.frames, logs=found.logs)


def _states(frames: Iterable[TelemetryFrame], logs: Iterable[LogRecord]) -> Iterator[IntervalInput]:
    """An interval per frame, with the lines up to its time."""
    lines = iter(logs)
    line = next(lines, None)
    for number, frame in enumerate(frames):
        taken = []
        while line is not None and not line.time_s > frame.time_s:
            taken.append(line)
            line = next(lines, None)
        yield IntervalInput(number=number, frames=(frame,), logs=tuple(taken))
