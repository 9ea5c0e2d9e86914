"""CSV lines as they come from the wild: over-long, cut, with NUL bytes or invalid text."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_LINE = 100_000
"""Characters of a line; a longer one is no row of telemetry."""


def csv_rows(file: Path) -> Iterator[list[str]]:
    """The cells of each line; none for a line that can't be split. A quoted cell may not span lines."""
    with file.open(encoding="utf-8", errors="replace", newline="") as stream:
        while line := stream.readline(MAX_LINE):
            is_whole = line.endswith(("\n", "\r")) or len(line) < MAX_LINE
            while not is_whole and (rest := stream.readline(MAX_LINE)):
                line = ""
                is_whole = rest.endswith("\n")
            yield _cells(line)


def _cells(line: str) -> list[str]:
    try:
        # The csv module refuses NUL bytes; a cell with one then fails as not a number.
        return next(csv.reader([line.replace("\0", "?")]), [])
    except csv.Error:
        return []
