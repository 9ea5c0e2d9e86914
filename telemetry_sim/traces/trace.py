"""What every reader of recorded telemetry offers, and the counts that say what became of each row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from telemetry_sim.records import Alarm, LogRecord, TelemetryFrame
    from telemetry_sim.topology import Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerDecision:
    """What the recorded network's own controller decided."""

    time_s: float
    """Since the start of the recording, as in TelemetryFrame."""
    slice_prb: tuple[int, ...]
    """PRBs given to each slice, in the topology's order; a slice without devices is left out with its PRBs."""
    schedulers: tuple[str, ...]
    """rr, wf (water-filling) or pf, in the topology's order."""
    reward: float
    """What its own reward function said; NaN where the log does not tell."""
    unseen_prb: int = 0
    """PRBs given to slices that have no device in this recording."""
    is_on_old_state: bool = False
    """The controller had no new report and decided on the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSummary:
    """What was read: rows_read = rows_accepted + rows_quarantined, always."""

    format: str
    rows_read: int
    rows_accepted: int
    quarantined: Mapping[str, int]
    """Rows by reason."""
    num_devices: int
    num_frames: int
    period_s: float
    start_unix_s: float
    """Wall-clock time of `time_s` = 0; NaN where the recording has no wall clock."""
    runs_s: tuple[tuple[float, float], ...]
    """Stretches without a gap of more than a minute: first and last time_s of each."""
    notes: Mapping[str, int | str] = field(default_factory=dict)
    """Oddities of the format that cost no row (and what was made of them), counted."""

    @property
    def rows_quarantined(self) -> int:
        return sum(self.quarantined.values())


class TraceReader(Protocol):
    """Recorded telemetry that can be gone through any number of times."""

    @property
    def topology(self) -> Topology:
        """The network behind the recording: as recorded, or guessed from the traffic classes."""

    @property
    def summary(self) -> TraceSummary: ...

    @property
    def decisions(self) -> tuple[PeerDecision, ...]:
        """In time order; empty where the recording holds none."""

    def frames(self) -> Iterator[TelemetryFrame]:
        """In time order, from the start at every call."""

    def logs(self) -> Iterator[LogRecord]:
        """In time order, from the start at every call."""

    def alarms(self) -> Iterator[Alarm]:
        """In time order, from the start at every call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedTrace:
    """A recording that fits in memory."""

    topology: Topology
    summary: TraceSummary
    all_frames: tuple[TelemetryFrame, ...]
    decisions: tuple[PeerDecision, ...] = ()

    def frames(self) -> Iterator[TelemetryFrame]:
        """In time order, from the start at every call."""
        return iter(self.all_frames)

    def logs(self) -> Iterator[LogRecord]:
        """None: the formats read into memory have no log lines."""
        return iter(())

    def alarms(self) -> Iterator[Alarm]:
        """None: the formats read into memory have no alarms."""
        return iter(())


class RowTally:
    """Counts rows while a file is read; every row read is accepted or quarantined exactly once."""

    def __init__(self) -> None:
        self.rows_read = 0
        self.quarantined: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()

    def read(self, number: int = 1) -> None:
        """Count rows as read."""
        self.rows_read += number

    def quarantine(self, reason: str, number: int = 1) -> None:
        """Count rows, already read, as set aside."""
        if number:
            self.quarantined[reason] += number

    def note(self, what: str, number: int = 1) -> None:
        """Count an oddity that costs no row."""
        if number:
            self.notes[what] += number

    @property
    def rows_accepted(self) -> int:
        return self.rows_read - self.quarantined.total()
