"""Tools that ask the twin what would happen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

from agent.cell_plan import CellPlan, largest_remainder
from agent.control_room import ControlRoom
from agent.errors import AgentInputInvalid
from agent.tools.finding import Finding, percent, require_slice
from agent.tools.seen import latest_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_preprocess.digest import EdgeDigest
    from telemetry_sim.topology import SliceProfile

_MOST_FACTOR = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    """A change to one slice, in one cell or all: pairs of what the twin expects now and then, one a cell."""

    profile: SliceProfile
    cell: int | None
    utilities: Sequence[tuple[float, float]]
    in_time: Sequence[tuple[float, float]]
    """Of the slice."""

    def finding(self, head: str, asked: dict[str, object]) -> Finding:
        """`head` is what was tried, as a sentence begins; `asked` its figures."""
        now, then = (percent(fmean(side)) for side in zip(*self.utilities, strict=True))
        in_time_now, in_time_then = (percent(fmean(side)) for side in zip(*self.in_time, strict=True))
        target, name = percent(self.profile.in_time_target), self.profile.name
        data: dict[str, object] = {
            "slice": name,
            "cell": self.cell,
            **asked,
            "utility_now_pct": now,
            "utility_then_pct": then,
            "in_time_now_pct": in_time_now,
            "in_time_then_pct": in_time_then,
            "in_time_target_pct": target,
        }
        where, whose = (
            ("", "utility") if self.cell is None else (f" in cell {self.cell}", f"cell {self.cell}'s utility")
        )
        text = (
            f"{head}{where}, {whose} would go from {now:g} % to {then:g} % in the twin.\n"
            f"- {name} in time: {in_time_now:g} % to {in_time_then:g} % (target {target:g} %)"
        )
        return Finding(text=text, data=data, focus={"slice": name} | ({} if self.cell is None else {"cell": self.cell}))


def what_if_down(room: ControlRoom, *, cell: int) -> Finding:
    """A cell's outage in the twin: its load goes to its neighbours, under the plan in force."""
    lost = latest_interval(room, cell).digests[0]
    site = next(s for s in room.topology.cells if s.id == cell)
    digests = {digest.cell: digest for digest in room.latest.digests if digest.cell != cell}
    heirs = [n for n in site.neighbours if n in digests and digests[n].is_up]
    loaded = tuple(_with_load_of(d, lost, len(heirs)) if d.cell in heirs else d for d in digests.values())
    rows = _twin_rows(room, tuple(digests.values()), loaded)
    before, after = fmean([r["now"] for r in rows] or [0.0]), fmean([r["then"] for r in rows] or [0.0])
    shown = [{"cell": r["cell"], "now_pct": percent(r["now"]), "then_pct": percent(r["then"])} for r in rows]
    shown.sort(key=lambda row: row["then_pct"] - row["now_pct"])
    data: dict[str, object] = {
        "cell": cell,
        "heirs": heirs,
        "num_devices": sum(row.num_devices for row in lost.slices),
        "utility_now_pct": percent(before),
        "utility_then_pct": percent(after),
        "cells": shown,
    }
    near = ", ".join(map(str, heirs)) or "nobody"
    lines = [
        (
            f"If cell {cell} went down, the other cells' utility would go from {data['utility_now_pct']:g} % to "
            f"{data['utility_then_pct']:g} % in the twin."
        ),
        f"Its {data['num_devices']} devices would move to cell {near}, or find no service where none is in reach.",
    ]
    lines += [f"- cell {r['cell']}: {r['now_pct']:g} % to {r['then_pct']:g} %" for r in shown[:6]]
    return Finding(text="\n".join(lines), data=data, focus={"cell": cell})


def what_if_demand(
    room: ControlRoom,
    *,
    slice: str,  # noqa: A002 - the operator's word
    change: str = "times",
    value: float,
    cell: int | None = None,
) -> Finding:
    """Another demand of a slice in the twin; `change` is times, up_pct or down_pct (by), or to_pct (of now)."""
    profile = require_slice(room.topology, slice)
    before = latest_interval(room, cell).digests
    ratio = value / 100.0
    factor = {"times": value, "up_pct": 1.0 + ratio, "down_pct": 1.0 - ratio, "to_pct": ratio}.get(change)
    if factor is None or not 0.0 <= factor <= _MOST_FACTOR:
        raise AgentInputInvalid(f"demand {change} {value:g}: a factor of 0 to {_MOST_FACTOR:g} is needed")
    index = room.topology.slice_index(profile.id)
    after = tuple(_with_demand(digest, index, factor) for digest in before)
    tried = _Tried(
        profile=profile,
        cell=cell,
        utilities=[(row["now"], row["then"]) for row in _twin_rows(room, before, after)],
        in_time=[
            (_expected(room, old, index), _expected(room, new, index)) for old, new in zip(before, after, strict=True)
        ],
    )
    asked: dict[str, object] = {"factor": round(factor, 3), "value": value}
    return tried.finding(f"With {asked['factor']:g} times the {profile.name} demand", asked)


def what_if_share(room: ControlRoom, *, slice: str, value: float, cell: int | None = None) -> Finding:  # noqa: A002 - the operator's word
    """Another guaranteed share of a slice in the twin, the others scaled to fit."""
    profile = require_slice(room.topology, slice)
    if not 0 <= value <= 100:
        raise AgentInputInvalid(f"share {value:g} %: 0 to 100 is allowed")
    seen, share_pct = latest_interval(room, cell), round(value)
    index = room.topology.slice_index(profile.id)
    utilities, in_time = [], []
    for digest, term in zip(seen.digests, seen.terms, strict=True):
        current = room.plan_in_force(digest.cell)
        other = _with_share(current, index, share_pct)
        utilities.append((room.twin.utility(current, digest, term), room.twin.utility(other, digest, term)))
        expected = (room.twin.expected_in_time(plan, digest, term)[index] for plan in (current, other))
        now, then = map(float, expected)
        in_time.append((now, then))
    tried = _Tried(profile=profile, cell=cell, utilities=utilities, in_time=in_time)
    rounded = "" if share_pct == value else f" (shares are whole percents, so not {value:g} %)"
    return tried.finding(
        f"With {share_pct} % of the PRBs for {profile.name}{rounded}", {"share_pct": share_pct, "value": value}
    )


def _twin_rows(
    room: ControlRoom, before: tuple[EdgeDigest, ...], after: tuple[EdgeDigest, ...]
) -> list[dict[str, float]]:
    rows = []
    for old, new, term in zip(before, after, room.terms(before), strict=True):
        plan = room.plan_in_force(old.cell)
        now, then = room.twin.utility(plan, old, term), room.twin.utility(plan, new, term)
        rows.append({"cell": old.cell, "now": now, "then": then})
    return rows


def _expected(room: ControlRoom, digest: EdgeDigest, index: int) -> float:
    terms = room.terms((digest,))[0]
    return float(room.twin.expected_in_time(room.plan_in_force(digest.cell), digest, terms)[index])


def _with_demand(digest: EdgeDigest, index: int, factor: float) -> EdgeDigest:
    row = digest.slices[index]
    scaled = row.model_copy(
        update={
            "demand_kbps": row.demand_kbps * factor,
            "forecast_demand_kbps": row.forecast_demand_kbps * factor,
            "tasks_per_s": row.tasks_per_s * factor,
            "forecast_tasks_per_s": row.forecast_tasks_per_s * factor,
        }
    )
    return digest.model_copy(update={"slices": (*digest.slices[:index], scaled, *digest.slices[index + 1 :])})


def _with_load_of(digest: EdgeDigest, lost: EdgeDigest, num_heirs: int) -> EdgeDigest:
    """The digest with an equal part of a lost cell's demand."""
    for index, row in enumerate(lost.slices):
        own = digest.slices[index].forecast_demand_kbps
        added = row.forecast_demand_kbps / max(num_heirs, 1)
        digest = _with_demand(digest, index, 1.0 + added / own if own > 0 else 1.0)
    return digest


def _with_share(plan: CellPlan, index: int, share_pct: int) -> CellPlan:
    others = [part.min_pct for row, part in enumerate(plan.slices) if row != index]
    rest = iter(largest_remainder([float(x) for x in others], 100 - share_pct))
    parts = tuple(
        replace(part, min_pct=share_pct if row == index else next(rest)) for row, part in enumerate(plan.slices)
    )
    return replace(plan, slices=parts)
