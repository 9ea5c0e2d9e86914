"""What the detectors make of one signal, row by row."""

from __future__ import annotations

import csv
import math
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

import numpy as np

from edge_preprocess.change_points import ChangePointDetector
from edge_preprocess.detectors import ALARM
from edge_preprocess.errors import SourceUnreadable
from edge_preprocess.novelty import NoveltyDetector
from edge_preprocess.signal_reader import SignalCounts, open_signal, read_signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_MAX_LISTED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalAlarm:
    """One row that stood out."""

    row: int
    """Counted from 1 after the header."""
    timestamp: str
    value: float
    score: float


@dataclass(slots=True, kw_only=True)
class SignalReport:
    """A summary of the file."""

    counts: SignalCounts = field(default_factory=SignalCounts)
    alarms: list[SignalAlarm] = field(default_factory=list)
    """The first hundred."""
    num_alarms: int = 0
    change_points: list[SignalAlarm] = field(default_factory=list)
    """Rows at which a lasting change of level was certain; the first hundred."""
    num_change_points: int = 0
    cpu_s: float = 0.0


def digest_signal(
    path: Path, *, rows: Path | None, column: str | None = None, progress: Callable[[int], None] | None = None
) -> SignalReport:
    """Score every row by the rows before it; `rows` is written as the file is read, one row per input row."""
    report = SignalReport()
    novelty, changes = NoveltyDetector(1), ChangePointDetector(1)
    began_s = time.process_time()
    with ExitStack() as stack:
        source = stack.enter_context(open_signal(path))
        writer = None
        if rows is not None:
            writer = csv.writer(stack.enter_context(_opened_for_rows(rows)), lineterminator="\n")
            writer.writerow(("timestamp", "value", "anomaly_score"))
        for number, row in enumerate(read_signal(source, report.counts, column=column), start=1):
            value = np.array([row.value])
            score = float(novelty.score_many(value)[0])
            change = float(changes.score_many(value)[0])
            novelty.learn_many(value)
            changes.learn_many(value)
            if writer is not None:
                writer.writerow((row.timestamp, "" if math.isnan(row.value) else repr(row.value), f"{score:.6f}"))
            alarm = SignalAlarm(row=number, timestamp=row.timestamp, value=row.value, score=round(score, 4))
            _note(report, alarm, score, change)
            if progress is not None and number % 1000 == 0:
                progress(number)
    report.cpu_s = time.process_time() - began_s
    return report


@contextmanager
def _opened_for_rows(rows: Path) -> Iterator[TextIO]:
    """A file for the rows, `-` for the standard output."""
    if str(rows) == "-":
        yield sys.stdout
        return
    try:
        file = rows.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise SourceUnreadable(f"--rows {str(rows)!r}: {error.strerror}; a writable file was expected") from error
    with file:
        yield file


def _note(report: SignalReport, alarm: SignalAlarm, score: float, change: float) -> None:
    if score >= ALARM:
        report.num_alarms += 1
        if len(report.alarms) < _MAX_LISTED:
            report.alarms.append(alarm)
    if change >= ALARM:
        report.num_change_points += 1
        if len(report.change_points) < _MAX_LISTED:
            report.change_points.append(alarm)
