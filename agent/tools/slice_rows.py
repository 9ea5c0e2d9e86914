"""How a slice is doing, in one cell or over all: its figures, a sentence, and a table of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent.rounding import to_digits
from agent.tools.finding import percent, sparkline
from agent.tools.seen import latest_interval
from agent.tools.text_table import text_table

if TYPE_CHECKING:
    from agent.control_room import ControlRoom
    from edge_preprocess.digest import EdgeDigest, SliceDigest
    from telemetry_sim.topology import SliceProfile

_TREND = 8
"""Intervals of a trend; no more, so that a table fits 80 columns."""
_DELAY_DIGITS = 2
"""Of a delay: a bin of the histogram that it is read off is 12 % wide."""


def slice_row(room: ControlRoom, profile: SliceProfile, cell: int | None = None) -> dict[str, object]:
    """A slice's figures in the latest interval, in one cell or over all, with how its in-time ratio went."""
    index = room.topology.slice_index(profile.id)
    lately = [_parts(interval.digests, index, cell) for interval in list(room.intervals)[-_TREND:]]
    row = _figures(profile, _parts(latest_interval(room, cell).digests, index, cell)) | {
        "trend_pct": [percent(_in_time(parts)) for parts in lately if parts]
    }
    return row if cell is None else row | {"cell": cell}


def slice_sentence(row: dict[str, object], where: str = "") -> str:
    """A slice in one line: what arrives in time, and what was wanted."""
    sign = "meets" if row["is_met"] else "misses"
    return (
        f"Slice {row['slice']}{where} {sign} its target: {row['in_time_pct']:g} % within {row['delay_budget_ms']:g} ms "
        f"({row['in_time_target_pct']:g} % wanted)."
    )


def slice_load(row: dict[str, object]) -> str:
    """What a slice asks for, and what comes of it."""
    line = f"- {row['demand_mbps']:g} Mb/s asked for by {row['num_devices']} devices, {_delivery(row)}"
    tasks = row["tasks_in_time_pct"]
    return line if tasks is None else f"{line}; {tasks:g} % of the edge tasks are in time"


def slice_table(rows: Sequence[dict[str, object]]) -> list[str]:
    """A line for each slice, those that miss their target marked."""
    heads = ("  slice", "in time", "wanted", "within", "p95 ms", "asked Mb/s", "served", "trend")
    return text_table(
        heads,
        [
            (
                f"{' ' if row['is_met'] else '!'} {row['slice']}",
                f"{row['in_time_pct']:g} %",
                f"{row['in_time_target_pct']:g} %",
                f"{row['delay_budget_ms']:g} ms",
                _or_dash(row["delay_p95_ms"]),
                f"{row['demand_mbps']:g}",
                f"{row['served_mbps']:g}",
                trend(row),
            )
            for row in rows
        ],
    )


def cell_table(rows: Sequence[dict[str, object]]) -> list[str]:
    """One slice cell by cell."""
    return text_table(
        ("  cell", "in time", "p95 ms", "asked Mb/s", "served Mb/s", "devices", "trend"),
        [
            (
                f"{' ' if row['is_met'] else '!'} {row['cell']}",
                f"{row['in_time_pct']:g} %",
                _or_dash(row["delay_p95_ms"]),
                f"{row['demand_mbps']:g}",
                f"{row['served_mbps']:g}",
                str(row["num_devices"]),
                trend(row),
            )
            for row in rows
        ],
    )


def trend(row: dict[str, object]) -> str:
    """How the in-time ratio went, as bars."""
    values = row["trend_pct"]
    return sparkline(values) if isinstance(values, list) else ""


def _delivery(row: dict[str, object]) -> str:
    if not row["served_mbps"]:
        return "nothing delivered"
    delay = row["delay_p95_ms"]
    return f"{row['served_mbps']:g} Mb/s delivered" + ("" if delay is None else f" with a p95 of {delay:g} ms")


def _or_dash(value: object) -> str:
    return "–" if value is None else f"{value:g}"


def _parts(digests: Sequence[EdgeDigest], index: int, cell: int | None) -> list[SliceDigest]:
    return [digest.slices[index] for digest in digests if cell is None or digest.cell == cell]


def _in_time(parts: Sequence[SliceDigest]) -> float:
    demand = sum(part.demand_kbps for part in parts)
    return sum(p.in_time_ratio * p.demand_kbps for p in parts) / demand if demand else 1.0


def _figures(profile: SliceProfile, parts: Sequence[SliceDigest]) -> dict[str, object]:
    ratio, tasks = _in_time(parts), sum(part.tasks_per_s for part in parts)
    delays = [part.delay_p95_ms for part in parts if part.is_delay_measured]
    return {
        "slice": profile.name,
        "in_time_pct": percent(ratio),
        "in_time_target_pct": percent(profile.in_time_target),
        "is_met": ratio >= profile.in_time_target,
        "delay_p95_ms": None if not delays else to_digits(max(delays), _DELAY_DIGITS),
        "delay_budget_ms": profile.delay_budget_ms,
        "demand_mbps": _mbps(sum(part.demand_kbps for part in parts)),
        "served_mbps": _mbps(sum(part.served_kbps for part in parts)),
        "num_devices": sum(part.num_devices for part in parts),
        "tasks_in_time_pct": percent(sum(p.tasks_in_time_ratio * p.tasks_per_s for p in parts) / tasks)
        if tasks
        else None,
    }


def _mbps(kbps: float) -> float:
    """With one decimal, or a significant digit of what is less: nothing is 0, and only that."""
    return round(kbps / 1000.0, 1) or to_digits(kbps / 1000.0, 1)
