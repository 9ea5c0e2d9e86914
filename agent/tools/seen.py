"""What has been seen of a network, cell by cell: some of them may be silent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agent.errors import AgentError, AgentInputInvalid
from agent.tools.finding import require_cell

if TYPE_CHECKING:
    from agent.control_room import ControlRoom, Interval


def latest_interval(room: ControlRoom, cell: int | None = None) -> Interval:
    """The latest interval, of the cell alone where one is given.

    Raises AgentInputInvalid where the cell has no digest in it, AgentError where no cell has.
    """
    if cell is not None:
        require_cell(room.topology, cell)
    heard = [digest.cell for digest in room.latest.digests]
    if not heard:
        raise AgentError("no cell has a digest now; ask again after the next interval")
    if cell is not None and cell not in heard:
        raise AgentInputInvalid(f"cell {cell} has no digest now; cells with one are {', '.join(map(str, heard[:20]))}")
    return _of_cell(room.latest, cell)


def seen_intervals(room: ControlRoom, cell: int | None = None) -> list[Interval]:
    """Those in which the cell, or any cell, has a digest, the oldest first; at least one, else as `latest_interval`."""
    narrowed = (_of_cell(interval, cell) for interval in room.intervals)
    return [interval for interval in narrowed if interval.digests] or [latest_interval(room, cell)]


def _of_cell(interval: Interval, cell: int | None) -> Interval:
    if cell is None:
        return interval
    kept = [i for i, digest in enumerate(interval.digests) if digest.cell == cell]
    return replace(
        interval,
        digests=tuple(interval.digests[i] for i in kept),
        terms=tuple(interval.terms[i] for i in kept),
        utility=tuple(interval.utility[i] for i in kept),
    )
