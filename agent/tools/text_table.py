"""Columns of a table in plain text, so that a terminal, a pipe and a language model read the same."""

from __future__ import annotations

from collections.abc import Sequence

_GAP = "  "


def text_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A line of heads and one per row.

    The first column and the last are flush left, the others flush right.
    """
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    last = len(widths) - 1

    def line(cells: Sequence[str]) -> str:
        placed = [
            cell.ljust(width) if at in (0, last) else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return _GAP.join(placed).rstrip()

    return [line(heads), *(line(row) for row in rows)]
