"""A CSV of one signal as timestamps and values; what is no number is quarantined with its reason."""

from __future__ import annotations

import csv
import io
import math
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from edge_preprocess.errors import SourceUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_DELIMITERS = ",;\t| "
_TIME_NAMES = ("timestamp", "time", "datetime", "date", "ts", "time_s", "reading#", "reading")
_MAX_LINE = 65_536
_MAX_ABSOLUTE = 1e100
_MAX_STAMP = 40
_MAX_NAME = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalRow:
    """One row of the file."""

    timestamp: str
    """As given, or the row's number where the file has no times; printable and short."""
    value: float
    """NaN where the row was quarantined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalColumn:
    """The column that the values are read from."""

    number: int
    """Counted from 1."""
    name: str | None
    """As the header has it, shortened; None without a header."""


@dataclass(slots=True, kw_only=True)
class SignalCounts:
    """received = accepted + quarantined, and of which column."""

    column: SignalColumn | None = None
    """None before the first line is read."""
    num_received: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)

    @property
    def num_accepted(self) -> int:
        return self.num_received - self.quarantined.total()

    def check(self, source: str) -> None:
        """Refuse a source of which not one row could be used."""
        if self.num_received and not self.num_accepted:
            reasons = ", ".join(f"{reason} {number}" for reason, number in self.quarantined.most_common())
            raise SourceUnreadable(
                f"{source}: none of {self.num_received} rows is usable ({reasons}), allowed are rows with a number"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    delimiter: str
    num_columns: int
    time_column: int | None
    value: SignalColumn
    has_header: bool


@contextmanager
def open_signal(path: Path) -> Iterator[TextIO]:
    """The file as text, `-` for the standard input; bytes that are no UTF-8 become marks that no number contains."""
    if str(path) == "-":
        yield io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", errors="replace", newline="")
        return
    try:
        with path.open("rb") as source, io.TextIOWrapper(source, "utf-8", errors="replace", newline="") as file:
            if path.is_file() and not source.peek(1):
                raise SourceUnreadable(f"signal {str(path)!r}: is empty; expected a CSV file with at least one row")
            yield file
    except OSError as error:
        raise SourceUnreadable(
            f"signal {str(path)!r}: {error.strerror or error}; a readable CSV file was expected"
        ) from error


def read_signal(file: TextIO, counts: SignalCounts, *, column: str | None = None) -> Iterator[SignalRow]:
    """Rows in file order, one per input row after the header; `column` names the value's column."""
    lines = _lines(file)
    first = next(lines, None)
    if first is None:
        return
    layout = _layout_of(first, column)
    counts.column = layout.value
    latest: tuple[float, float] | None = None
    pending = [] if layout.has_header else [first]
    for line in _chained(pending, lines):
        counts.num_received += 1
        timestamp, value, reason = _read_row(line, layout, counts.num_received)
        moment = _seconds_of(timestamp)
        if not reason and latest is not None and moment is not None:
            reason = "time_backwards" if moment < latest[0] else "duplicate" if (moment, value) == latest else ""
        if reason:
            counts.quarantined[reason] += 1
            yield SignalRow(timestamp=timestamp, value=math.nan)
            continue
        latest = latest if moment is None else (moment, value)
        yield SignalRow(timestamp=timestamp, value=value)


def _chained(first: Sequence[str], rest: Iterator[str]) -> Iterator[str]:
    yield from first
    yield from rest


def _lines(file: TextIO) -> Iterator[str]:
    """Lines that hold something; of a huge one only the start is held."""
    while line := file.readline(_MAX_LINE):
        while not line.endswith("\n") and (more := file.readline(_MAX_LINE)):
            if more.endswith("\n"):
                break
        stripped = line.strip("\r\n\ufeff")
        if stripped.strip():
            yield stripped


def _layout_of(first: str, column: str | None) -> _Layout:
    delimiter = max(_DELIMITERS, key=lambda mark: (first.count(mark) > 0 and mark != " ", first.count(mark)))
    cells = _split(first, delimiter)
    # Bytes that are no text are no header either: they are a row that can't be read.
    has_header = first.replace("\t", " ").isprintable() and "\ufffd" not in first and not any(map(_is_number, cells))
    names = [cell.strip().lower() for cell in cells] if has_header else []
    time_column = next((names.index(name) for name in _TIME_NAMES if name in names), None)
    if not has_header and len(cells) > 1:
        time_column = 0
    place = _value_column(names, len(cells), time_column, column)
    name = cells[place].strip()[:_MAX_NAME] if has_header else None
    return _Layout(
        delimiter=delimiter,
        num_columns=len(cells),
        time_column=time_column,
        value=SignalColumn(number=place + 1, name=name),
        has_header=has_header,
    )


def _value_column(names: Sequence[str], num_columns: int, time_column: int | None, column: str | None) -> int:
    if column is not None:
        if column.strip().lower() not in names:
            raise SourceUnreadable(f"column {column!r} is not in the file; columns are {list(names)[:20]}")
        return names.index(column.strip().lower())
    if "value" in names:
        return names.index("value")
    if time_column is None:
        return 0
    return 1 if time_column == 0 and num_columns > 1 else 0


def _read_row(line: str, layout: _Layout, number: int) -> tuple[str, float, str]:
    """Timestamp, value and why the row can't be used (empty where it can)."""
    cells = _split(line, layout.delimiter)
    if len(cells) != layout.num_columns:
        return str(number), math.nan, "wrong_columns"
    stamp = str(number) if layout.time_column is None else cells[layout.time_column].strip()
    if not stamp.isprintable() or len(stamp) > _MAX_STAMP:
        return str(number), math.nan, "bad_timestamp"
    value = _number_of(cells[layout.value.number - 1])
    if value is None:
        return stamp, math.nan, "not_a_number"
    if math.isnan(value):
        return stamp, math.nan, "missing"
    if abs(value) > _MAX_ABSOLUTE:
        return stamp, math.nan, "infinite" if math.isinf(value) else "absurd"
    return stamp, value, ""


def _split(line: str, delimiter: str) -> list[str]:
    if delimiter == " ":
        return line.split()
    try:
        return next(csv.reader([line.replace("\x00", "\ufffd")], delimiter=delimiter), [])
    except csv.Error:
        return []


def _number_of(text: str) -> float | None:
    """A plain number; underscores and words of other scripts, which Python would take too, are none."""
    text = text.strip()
    if not text.isascii() or "_" in text:
        return None
    if not text:
        return math.nan
    try:
        return float(text)
    except ValueError:
        return None


def _is_number(text: str) -> bool:
    return _number_of(text) is not None


def _seconds_of(timestamp: str) -> float | None:
    """Seconds of a timestamp, None where it can't be told."""
    number = _number_of(timestamp)
    if number is not None:
        return None if not math.isfinite(number) else number
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
